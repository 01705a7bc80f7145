// A small federation that ranks can load by themselves, from a CSV file, and ranks in threads.

#ifndef CONSILIUM_TESTS_SIM_CLUSTER_RANK_WORLD_H_
#define CONSILIUM_TESTS_SIM_CLUSTER_RANK_WORLD_H_

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/derived_seed.h"
#include "sim/cluster/rank_leader.h"
#include "sim/cluster/rank_worker.h"
#include "sim/engine/saved_simulation.h"
#include "tests/fakes/temp_folder.h"
#include "tests/sim/cluster/memory_ranks.h"
#include "tests/sim/small_world.h"

namespace consilium {

// Its models, and the state of all its engines: what sites said of each model is in it.
inline std::vector<Digest> EndOf(const Simulation& simulation) {
  std::vector<Digest> end = ModelIds(simulation);
  end.push_back(simulation.StateDigest());
  return end;
}

class RankWorld {
 public:
  explicit RankWorld(const std::string& config, const std::string& sites = "") {
    SmallWorldOptions options;
    options.sites = 0;
    options.config = config;
    options.scenario = absl::StrCat(
        "dataset { partitioned { file: 'small.csv' sites: 6 } } sites {", sites, "} seed: 3");
    world_ = std::make_unique<SmallWorld>(options);
    EXPECT_TRUE(WriteFileDurably(folder.File("small.csv"), Table(0.5)).ok());
    const auto loaded = LoadScenarioData(world_->scenario, world_->plan, folder.path());
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    if (loaded.ok()) data = *loaded;
  }

  // 300 patients; the first one's x is `x`.
  static std::string Table(double x) {
    std::string text = "x,y,mark,sick\n";
    RandomStream random(SeedPath{7, "rank world", "table"});
    for (int i = 0; i < 300; ++i) {
      if (i > 0) x = random.NextUnit();
      const double y = random.NextUnit();
      absl::StrAppendFormat(&text, "%.6f,%.6f,0,%s\n", x, y, x + y > 1 ? "yes" : "no");
    }
    return text;
  }

  SimulationInput Input() {
    SimulationInput input;
    input.plan = world_->plan;
    input.scenario = world_->scenario;
    input.data = &data;
    input.trainer = &world_->trainer;
    return input;
  }
  const v1::RunPlan& plan() const { return world_->plan; }
  const v1::Scenario& scenario() const { return world_->scenario; }

  std::vector<Digest> OfOneProcess() {
    auto simulation = Simulation::Create(Input());
    EXPECT_TRUE(simulation.ok()) << simulation.status();
    EXPECT_TRUE((*simulation)->Run().ok());
    return EndOf(**simulation);
  }

  TempFolder folder;
  FederationData data;

 private:
  std::unique_ptr<SmallWorld> world_;
};

inline RankIdentity SomeIdentity() { return {{"program", "p"}, {"run config", "r"}}; }

// Counts, and may add something to each update.
class OtherTrainer final : public Trainer {
 public:
  using Seen = std::function<void(const SiteId& site)>;
  OtherTrainer(std::atomic<int>& trained, std::atomic<int>& evaluated, float added,
               Seen seen = nullptr)
      : trained_(trained), evaluated_(evaluated), added_(added), seen_(std::move(seen)) {}
  absl::StatusOr<TrainOutput> Train(const TrainInput& input) override {
    ++trained_;
    if (seen_) seen_(input.site);
    CONSILIUM_ASSIGN_OR_RETURN(TrainOutput output, trainer_.Train(input));
    output.delta[0] += added_;
    return output;
  }
  absl::StatusOr<v1::MetricSums> Evaluate(const EvaluateInput& input) override {
    ++evaluated_;
    return trainer_.Evaluate(input);
  }

 private:
  CpuTrainer trainer_;
  std::atomic<int>& trained_;
  std::atomic<int>& evaluated_;
  const float added_;
  const Seen seen_;
};

// Ranks 1 to n−1, each at work in a thread until it is told to leave.
class WorkersAtWork {
 public:
  struct Options {
    int size = 2;
    size_t threads = 1;
    std::string folder = "";
    float added = 0;
    absl::StatusOr<RankIdentity> identity = SomeIdentity();
  };
  explicit WorkersAtWork(const Options& options) : ranks(options.size) {
    ends.resize(static_cast<size_t>(options.size));
    for (int rank = 1; rank < options.size; ++rank) {
      threads_.emplace_back([this, rank, options] {
        const auto trainer = [this, rank, options] {
          return std::make_unique<OtherTrainer>(
              trained, evaluated, options.added,
              [this, rank](const SiteId& site) { See(rank, site); });
        };
        RankWorker worker(ranks.at(rank),
                          {options.identity, options.folder, options.threads, trainer});
        ends[static_cast<size_t>(rank)] = worker.Serve();
      });
    }
  }
  ~WorkersAtWork() { Dismiss(); }

  absl::StatusOr<std::unique_ptr<RankLeader>> Gather() {
    return RankLeader::Gather(ranks.at(0), SomeIdentity(), std::make_unique<CpuTrainer>());
  }
  void Dismiss(const absl::Status& end = absl::OkStatus()) {
    if (threads_.empty()) return;
    DismissRanks(ranks.at(0), end);
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  // What each rank has trained since the last call.
  std::map<int, std::set<SiteId>> TakeSeen() {
    absl::MutexLock lock(&mu_);
    return std::exchange(seen_, {});
  }

  MemoryRanks ranks;
  std::atomic<int> trained = 0;
  std::atomic<int> evaluated = 0;
  std::vector<absl::Status> ends;  // Of each rank.

 private:
  void See(int rank, const SiteId& site) {
    absl::MutexLock lock(&mu_);
    seen_[rank].insert(site);
  }

  absl::Mutex mu_;
  std::map<int, std::set<SiteId>> seen_ ABSL_GUARDED_BY(mu_);
  std::vector<std::thread> threads_;
};

inline std::unique_ptr<TrainingPool> PoolWith(RankLeader& leader, size_t threads = 1) {
  return std::make_unique<TrainingPool>(
      TrainingPool::Options{.threads = threads, .trainer_name = "libtorch", .remote = &leader},
      [] { return std::make_unique<CpuTrainer>(); });
}

}  // namespace consilium

#endif  // CONSILIUM_TESTS_SIM_CLUSTER_RANK_WORLD_H_
