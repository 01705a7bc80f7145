// How many inputs a second FederationEngine takes: what bounds the simulator, and how fast a
// journal replays. One item is one Step: an update, or the answer to a program. The control does
// the least that any engine must for the same update: find its site and task by name, keep it,
// and answer with one receipt. The ratio of the two is the price of the decisions.

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "aggregator/core/engine.h"
#include "benchmark/benchmark.h"
#include "tests/aggregator/core/federation_fixture.h"

namespace consilium::federation {
namespace {

constexpr const char* kRules[] = {"preset: FEDBUFF", "preset: FEDASYNC", "preset: FEDAVG",
                                  "preset: STALENESS_WEIGHTED_TABLE"};

// The updates of all sites in turn, each for its next task, on the current version.
class Updates {
 public:
  explicit Updates(int sites) : next_(static_cast<size_t>(sites)) {
    for (size_t i = 0; i < next_.size(); ++i) next_[i].site = SiteId(absl::StrCat("site-", i));
  }
  UpdateStaged Next(const RunState& run) {
    UpdateStaged& update = next_[turn_++ % next_.size()];
    update.run = run.run;
    update.task = update.task.next();
    update.incarnation = Incarnation(1);
    update.base = run.current();
    update.base_model_id = run.versions.back().model_id;
    update.layout_hash = run.layout_hash;
    update.examples = 10;
    for (int byte = 0; byte < 8; ++byte) {
      update.update[byte] = static_cast<uint8_t>(turn_ >> (8 * byte));
    }
    return update;
  }

 private:
  std::vector<UpdateStaged> next_;
  uint64_t turn_ = 0;
};

FederationEngine RunningEngine(int sites, const std::string& aggregation) {
  FederationEngine engine;
  const absl::Time now = absl::UnixEpoch();
  const RunId run("bench");
  for (int i = 0; i < sites; ++i) {
    const SiteId site(absl::StrCat("site-", i));
    engine.Step(now, SiteAdded{site, {}});
    SiteAttached attach;
    attach.site = site;
    attach.incarnation = Incarnation(1);
    engine.Step(now, attach);
  }
  engine.Step(now,
              RunSubmitted{run, MakePlan({.aggregation = aggregation, .versions_max = 1'000'000})});
  for (int i = 0; i < sites; ++i) {
    RunDecided decided;
    decided.site = SiteId(absl::StrCat("site-", i));
    decided.run = run;
    decided.plan_hash = engine.runs().at(run).plan_hash;
    decided.answer = RunDecided::Answer::kApproved;
    decided.train_examples = 10;
    engine.Step(now, decided);
  }
  engine.Step(now, ComputeDone{run, 1, {}, {}});
  return engine;
}

void BM_Step(benchmark::State& state) {
  FederationEngine engine = RunningEngine(static_cast<int>(state.range(1)), kRules[state.range(0)]);
  const RunState& run = engine.runs().begin()->second;
  Updates updates(static_cast<int>(state.range(1)));
  absl::Time now = absl::UnixEpoch();
  int64_t events = 0;
  for (auto _ : state) {
    now += absl::Microseconds(1);
    benchmark::DoNotOptimize(engine.Step(now, updates.Next(run)));
    ++events;
    if (run.pending.has_value()) {
      benchmark::DoNotOptimize(engine.Step(now, ComputeDone{run.run, run.programs, {1.0}, {}}));
      ++events;
    }
  }
  state.SetItemsProcessed(events);
  state.SetLabel(kRules[state.range(0)]);
}

void BM_Control(benchmark::State& state) {
  const FederationEngine engine = RunningEngine(static_cast<int>(state.range(0)), kRules[0]);
  const RunState& run = engine.runs().begin()->second;
  Updates updates(static_cast<int>(state.range(0)));
  std::map<SiteId, std::map<TaskId, TaskState>> sites;
  for (auto _ : state) {
    const Event event = updates.Next(run);
    const UpdateStaged& update = std::get<UpdateStaged>(event);
    TaskState& task = sites[update.site][update.task];
    task.update = update.update;
    std::vector<Action> actions;
    actions.emplace_back(SendReceipt{update.site, v1::Receipt::ACCEPTED, update.run, update.task,
                                     update.update, Sequence(1), Version(0), 0});
    benchmark::DoNotOptimize(actions);
  }
  state.SetItemsProcessed(state.iterations());
}

// Few iterations: the state grows with each, as a run's does.
BENCHMARK(BM_Step)
    ->ArgNames({"rule", "sites"})
    ->ArgsProduct({{0, 1, 2, 3}, {4, 100}})
    ->ArgsProduct({{0}, {10'000}})
    ->Iterations(50'000);
BENCHMARK(BM_Control)->Arg(4)->Arg(100)->Arg(10'000)->Iterations(50'000);

}  // namespace
}  // namespace consilium::federation
