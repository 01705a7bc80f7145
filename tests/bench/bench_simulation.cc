// How many events a second the simulator takes. Its virtual clock alone: each site has one event
// ahead of it, and when it happens the next is set; the control is the standard library's priority
// queue with the same payload inside its items. And whole federations with all that both engines
// decide and all messages, without learning: a fake trainer makes the updates.

#include <cstdint>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "benchmark/benchmark.h"
#include "protocol/wire/derived_seed.h"
#include "sim/check/fake_trainer.h"
#include "sim/engine/event_queue.h"
#include "tests/sim/small_world.h"

namespace consilium {
namespace {

// As long as the least that a message is: who, to whom, what of which task.
struct Payload {
  uint64_t site = 0;
  uint64_t words[7] = {};
};

// Delays that repeat only after a million events.
std::vector<absl::Duration> Delays() {
  RandomStream random(SeedPath{1, "delays", "", 0});
  std::vector<absl::Duration> delays(1 << 20);
  for (absl::Duration& delay : delays) {
    delay = absl::Nanoseconds(1 + static_cast<int64_t>(random.NextBelow(1'000'000'000)));
  }
  return delays;
}

void BM_Clock(benchmark::State& state) {
  const std::vector<absl::Duration> delays = Delays();
  EventQueue<Payload> queue;
  size_t turn = 0;
  for (int64_t i = 0; i < state.range(0); ++i) {
    queue.Schedule(absl::UnixEpoch() + delays[turn++ % delays.size()],
                   {static_cast<uint64_t>(i), {}});
  }
  for (auto _ : state) {
    Payload payload = queue.Pop();
    benchmark::DoNotOptimize(payload);
    queue.Schedule(queue.now() + delays[turn++ % delays.size()], payload);
  }
  state.SetItemsProcessed(state.iterations());
}

void BM_Control(benchmark::State& state) {
  struct Item {
    absl::Time at;
    uint64_t order = 0;
    Payload payload;
    bool operator>(const Item& other) const {
      return at != other.at ? at > other.at : order > other.order;
    }
  };
  const std::vector<absl::Duration> delays = Delays();
  std::priority_queue<Item, std::vector<Item>, std::greater<>> queue;
  size_t turn = 0;
  uint64_t order = 0;
  for (int64_t i = 0; i < state.range(0); ++i) {
    queue.push({absl::UnixEpoch() + delays[turn++ % delays.size()], order++, {}});
  }
  for (auto _ : state) {
    Item item = queue.top();
    queue.pop();
    benchmark::DoNotOptimize(item);
    queue.push({item.at + delays[turn++ % delays.size()], order++, item.payload});
  }
  state.SetItemsProcessed(state.iterations());
}

// Five versions of as many updates as there are sites; a site may train again before others have.
void BM_Simulation(benchmark::State& state) {
  const auto sites = static_cast<size_t>(state.range(0));
  SmallWorld world(
      {.sites = sites,
       .rows_per_site = 10,
       .config = absl::StrCat("aggregation { preset: FEDBUFF trigger { buffer { updates: ", sites,
                              " } } } stop { versions_max: 5 }"),
       .scenario = "name: 'bench' sites { task_ms: 1000 latency_ms: 20 "
                   "task_speed { exponential_mean: 1 } } seed: 1"});
  FakeTrainer trainer;
  uint64_t events = 0;
  for (auto _ : state) {
    SimulationInput input;
    input.plan = world.plan;
    input.scenario = world.scenario;
    input.data = &world.data;
    input.trainer = &trainer;
    absl::StatusOr<std::unique_ptr<Simulation>> simulation = Simulation::Create(std::move(input));
    if (!simulation.ok() || !(*simulation)->Run().ok()) {
      state.SkipWithError("the simulation failed");
      break;
    }
    events += (*simulation)->steps();
  }
  state.SetItemsProcessed(static_cast<int64_t>(events));
}

BENCHMARK(BM_Simulation)->Arg(100)->Arg(10'000)->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Clock)->Arg(100)->Arg(10'000)->Arg(1'000'000);
BENCHMARK(BM_Control)->Arg(100)->Arg(10'000)->Arg(1'000'000);

}  // namespace
}  // namespace consilium
