// What a virtual site computes on its own rows: whether the plan may be trained, statistics,
// updates and evaluations, by the same code as in a real agent; and, where the scenario makes the
// site hostile, what it does to them. A site of a recorded run says of the plan what it said then,
// and one without rows here plays back what was recorded.
//
// Encoded rows are kept while there is room for them, and encoded again where there is not: most
// of many sites are idle.
//
// Ownership: borrows data, trainer and cache. Threads: one, but for ComputeTraining and
// ComputeEvaluation.

#ifndef CONSILIUM_SIM_ENGINE_SITE_WORK_H_
#define CONSILIUM_SIM_ENGINE_SITE_WORK_H_

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "consilium/v1/coordination.pb.h"
#include "consilium/v1/scenario.pb.h"
#include "consilium/v1/transfer.pb.h"
#include "protocol/core/ids.h"
#include "sim/engine/attacks.h"
#include "sim/engine/site_data.h"
#include "sim/engine/site_record.h"
#include "site_agent/core/actions.h"
#include "site_agent/core/events.h"
#include "site_agent/core/release_rules.h"
#include "site_agent/core/run_state.h"
#include "site_agent/core/trainer.h"

namespace consilium {

// Encoded rows of the sites that were last at work. Threads: any.
class ExamplesCache {
 public:
  explicit ExamplesCache(uint64_t bytes_max) : bytes_max_(bytes_max) {}

  // Nullptr where it has gone. What is given stays valid as long as it is held.
  std::shared_ptr<const SplitExamples> Find(const SiteId& site) ABSL_LOCKS_EXCLUDED(mu_);
  void Keep(const SiteId& site, std::shared_ptr<const SplitExamples> examples)
      ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Entry {
    SiteId site;
    std::shared_ptr<const SplitExamples> examples;
    uint64_t bytes = 0;
  };

  const uint64_t bytes_max_;
  absl::Mutex mu_;
  uint64_t bytes_ ABSL_GUARDED_BY(mu_) = 0;
  std::list<Entry> entries_ ABSL_GUARDED_BY(mu_);  // The last used first.
  absl::flat_hash_map<SiteId, std::list<Entry>::iterator> places_ ABSL_GUARDED_BY(mu_);
};

inline constexpr uint64_t kExamplesCacheBytesMax = uint64_t{1} << 30;

class SiteWork {
 public:
  struct Options {
    SiteId id;
    // What a site says over fewer rows is withheld as an agent does.
    uint64_t minimum_count = site::kMinimumCountDefault;
    std::optional<Attacker> attacker;
    // Of a recorded run; may be null, and outlives the work.
    const SiteRecord* record = nullptr;
  };
  // All that is borrowed outlives the work.
  SiteWork(Options options, const SiteData& data, Trainer& trainer, ExamplesCache& cache);

  const SiteId& id() const { return options_.id; }

  absl::StatusOr<site::PlanChecked> Check(const RunId& run, const v1::RunPlan& plan) const;
  absl::StatusOr<v1::StatisticsReport> Statistics(const RunId& run, const v1::RunPlan& plan) const;

  // All that a task's update follows from, besides the site's rows.
  struct TrainingTask {
    std::shared_ptr<const v1::RunPlan> plan;
    std::shared_ptr<const v1::Standardisation> standardisation;
    TaskId id;
    uint32_t local_steps = 0;
    std::shared_ptr<const std::vector<float>> payload;  // What was fetched of the base.
    // Of the update that the action names; null where it names none.
    std::shared_ptr<const std::vector<float>> kept;
  };
  struct Trained {
    TrainOutput output;
    uint64_t examples = 0;
  };
  // As Trainer::Train. Threads: any.
  absl::StatusOr<Trained> ComputeTraining(const TrainingTask& task, Trainer& trainer) const;

  // Whether it has recorded updates in place of rows.
  bool PlaysBack() const {
    return options_.record != nullptr &&
           options_.record->updates == SiteRecord::Updates::kPlayedBack;
  }
  // The update of a recorded task, in place of ComputeTraining.
  static Trained PlayedBack(const RecordedTask& task);

  struct Update {
    std::vector<float> delta;
    std::vector<float> kept;                   // As TrainOutput says.
    std::shared_ptr<v1::UpdateHeader> header;  // Without incarnation.
  };
  Trainer& trainer() const { return trainer_; }  // Of the simulation's own thread.
  // What the site sends of it. An attacker's next one may hang on this one.
  Update UpdateOf(const site::RunState& run, const site::Train& action, Trained trained);

  // All that an evaluation follows from, besides the site's rows.
  struct EvaluationTask {
    std::shared_ptr<const v1::RunPlan> plan;
    std::shared_ptr<const v1::Standardisation> standardisation;
    v1::Split split = v1::SPLIT_UNSPECIFIED;            // VALIDATION or TEST.
    std::shared_ptr<const std::vector<float>> payload;  // What was fetched of the version.
    // Of the update that the action names; null where it names none.
    std::shared_ptr<const std::vector<float>> kept;
  };
  // What the site tells of it; as Trainer::Evaluate. Threads: any.
  absl::StatusOr<v1::MetricSums> ComputeEvaluation(const EvaluationTask& task,
                                                   Trainer& trainer) const;
  // Nullptr where the site is honest.
  const Attacker* attacker() const {
    return options_.attacker.has_value() ? &*options_.attacker : nullptr;
  }
  Attacker* attacker() { return options_.attacker.has_value() ? &*options_.attacker : nullptr; }

 private:
  absl::StatusOr<std::shared_ptr<const SplitExamples>> ExamplesOf(
      const v1::RunPlan& plan, const v1::Standardisation& standardisation) const;

  Options options_;
  const SiteData& data_;
  Trainer& trainer_;
  ExamplesCache& cache_;
};

// Of every site of the data, as the scenario has them.
std::map<SiteId, SiteWork::Options> WorkOptions(const v1::Scenario& scenario,
                                                const FederationData& data);

// Who computes tasks of sites: a trainer of this process, or another process. Threads: one call at
// a time.
class TaskWorker {
 public:
  virtual ~TaskWorker() = default;
  // As SiteWork::ComputeTraining of that site. UNAVAILABLE where the worker is lost: any other one
  // computes the same.
  virtual absl::StatusOr<SiteWork::Trained> Train(const SiteWork& work,
                                                  const SiteWork::TrainingTask& task) = 0;
  // As SiteWork::ComputeEvaluation, likewise.
  virtual absl::StatusOr<v1::MetricSums> Evaluate(const SiteWork& work,
                                                  const SiteWork::EvaluationTask& task) = 0;
};

// Borrows the trainer.
class LocalWorker final : public TaskWorker {
 public:
  explicit LocalWorker(Trainer& trainer) : trainer_(trainer) {}
  absl::StatusOr<SiteWork::Trained> Train(const SiteWork& work,
                                          const SiteWork::TrainingTask& task) override {
    return work.ComputeTraining(task, trainer_);
  }
  absl::StatusOr<v1::MetricSums> Evaluate(const SiteWork& work,
                                          const SiteWork::EvaluationTask& task) override {
    return work.ComputeEvaluation(task, trainer_);
  }

 private:
  Trainer& trainer_;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_SITE_WORK_H_
