// How close the merge comes to the memory's speed. One merge folds K updates of N floats into the
// server's state by a vector program; the control is the plainest loop there is, a[i] += w·x[i] in
// place over the same N floats, K times. Both run in turn in each repetition, over at least eight
// times the last-level cache, and the ratio of their speeds is printed, median, least and greatest
// over the repetitions (1: as fast as the control).
// Folding shard by shard keeps the sum in the cache, so several updates at once beat the control.
// BM_MakeVersion does all that a version costs: the model before is copied, the updates are folded,
// the result is stored and hashed for its id, once for all updates.

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "aggregator/merge/memory_vector_store.h"
#include "aggregator/merge/run_program.h"
#include "benchmark/benchmark.h"
#include "tests/bench/by_turns.h"

namespace consilium {
namespace {

uint64_t ElementsFor(int updates) {
  uint64_t cache_bytes = 1 << 20;
  for (const auto& cache : benchmark::CPUInfo::Get().caches) {
    cache_bytes = std::max(cache_bytes, static_cast<uint64_t>(cache.size));
  }
  // K updates, the state before and after.
  const uint64_t elements = 8 * cache_bytes / sizeof(float) / (updates + 2);
  return (elements / kShardElements + 1) * kShardElements;
}

VectorName UpdateName(int number) {
  Digest id = {};
  id[0] = static_cast<uint8_t>(number);
  return VectorName::Update(id);
}

VectorProgram FoldInto(const VectorName& target, int updates) {
  VectorProgram program;
  program.result = VectorName::Model(Version(1));
  for (int k = 0; k < updates; ++k) {
    VectorStep step;
    step.op = VectorStep::Op::kAxpy;
    step.dst = target;
    step.x = UpdateName(k);
    step.a = 0.25;
    program.steps.push_back(step);
  }
  return program;
}

// What is measured: a program whose target is scratch folds without hashing or storing; one whose
// result is a model makes a version.
VectorProgram FoldOnly(int updates) {
  VectorProgram program = FoldInto(VectorName::Scratch(1), updates);
  program.result = VectorName::Scratch(0);
  return program;
}

VectorProgram MakeVersion(int updates) {
  VectorProgram program = FoldInto(VectorName::Model(Version(1)), updates);
  VectorStep copy;
  copy.dst = VectorName::Model(Version(1));
  copy.x = VectorName::Model(Version(0));
  program.steps.insert(program.steps.begin(), copy);
  return program;
}

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void PlainAxpy(float weight, const std::vector<float>& from, std::vector<float>& to) {
  const size_t n = to.size();
  const float* const x = from.data();
  float* const a = to.data();
  for (size_t i = 0; i < n; ++i) a[i] += weight * x[i];
}

void Merge(benchmark::State& state, VectorProgram (*make_program)(int updates)) {
  const int updates = static_cast<int>(state.range(0));
  const uint64_t elements = ElementsFor(updates);
  MemoryVectorStore store(elements);
  std::vector<std::vector<float>> plain;
  if (!store.Put(VectorName::Model(Version(0)), std::vector<float>(elements, 1)).ok()) abort();
  for (int k = 0; k < updates; ++k) {
    plain.emplace_back(elements, 1e-3F);
    if (!store.Put(UpdateName(k), plain.back()).ok()) abort();
  }
  std::vector<float> accumulator(elements, 0);
  const VectorProgram program = make_program(updates);
  const double gigabytes = 1e-9 * static_cast<double>(elements) * sizeof(float) * updates;
  std::vector<double> merge_rates, control_rates, ratios;
  const auto take_turns = [&] {
    auto start = std::chrono::steady_clock::now();
    for (const std::vector<float>& update : plain) PlainAxpy(0.25F, update, accumulator);
    benchmark::DoNotOptimize(accumulator.data());
    const double control_s = SecondsSince(start);
    start = std::chrono::steady_clock::now();
    if (!RunProgram(program, store, nullptr).ok()) abort();
    const double merge_s = SecondsSince(start);
    control_rates.push_back(gigabytes / control_s);
    merge_rates.push_back(gigabytes / merge_s);
    ratios.push_back(control_s / merge_s);
    return merge_s;
  };
  for (int i = 0; i < bench::kWarmUps; ++i) take_turns();
  for (std::vector<double>* values : {&merge_rates, &control_rates, &ratios}) values->clear();
  for (auto _ : state) state.SetIterationTime(take_turns());
  state.counters["update_GB/s"] = bench::Summary(merge_rates)["median"];
  state.counters["control_GB/s"] = bench::Summary(control_rates)["median"];
  const nlohmann::json ratio = bench::Summary(ratios);
  state.counters["ratio"] = ratio["median"];
  state.counters["ratio_min"] = ratio["min"];
  state.counters["ratio_max"] = ratio["max"];
}

void BM_Fold(benchmark::State& state) { Merge(state, FoldOnly); }
void BM_MakeVersion(benchmark::State& state) { Merge(state, MakeVersion); }

BENCHMARK(BM_Fold)->Arg(1)->Arg(2)->Arg(4)->Arg(16)->UseManualTime()->Iterations(
    bench::kRepetitions);
BENCHMARK(BM_MakeVersion)
    ->Arg(1)
    ->Arg(2)
    ->Arg(4)
    ->Arg(16)
    ->UseManualTime()
    ->Iterations(bench::kRepetitions);

}  // namespace
}  // namespace consilium

int main(int argc, char** argv) {
  // Memory that was freed is used again: how fast this system hands out new pages is not measured.
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
