// A whole round, end to end: K echo sites with certificates of their own, the whole aggregator in
// another process, mutual TLS between them. In a round every site fetches the version and sends an
// update of its size; when the last one has come, the aggregator makes the next version and tells
// all. The control moves the same bytes both ways with a server that only hashes what comes.
// Prints seconds per round (with --parameters 0: a round's fixed cost), bytes, how far the
// aggregator's memory rose, and the ratio.

#include <CLI/CLI.hpp>
#include <string>

#include "models/spec/run_plan.h"
#include "protocol/rpc/credentials.h"
#include "tests/bench/by_turns.h"
#include "tests/bench/echo_sites.h"
#include "tests/bench/server_process.h"

namespace consilium::bench {
namespace {

struct Options {
  int sites = 4;
  uint64_t parameters = 1'000'000;
  int repetitions = kRepetitions;
  std::string json;
};

uint64_t BytesPerRound(const EchoSites& sites) {
  return 2 * sites.payload_bytes() * static_cast<uint64_t>(sites.size());
}

void Run(const Options& options) {
  testing::AggregatorAccess access;
  const v1::RunPlan plan = EchoPlan({.parameters = options.parameters});
  const uint64_t model_bytes = Must(GraphOf(plan), "sizing the model").layout.payload_bytes();
  const ServerProcess aggregator(access, {});
  const ServerProcess discard(access,
                              {.kind = ServerProcess::Kind::kDiscard, .model_bytes = model_bytes});
  InitRpc();
  access.Connect();
  EchoSites sites(access, options.sites, plan);
  const std::string discard_address = ServerProcess::DiscardAddress(access);
  const uint64_t memory_before = aggregator.MemoryBytes();

  Comparison comparison("round");
  comparison.State("sites", options.sites);
  comparison.State("parameters", sites.payload_bytes() / sizeof(float));
  comparison.State("bytes_per_round", BytesPerRound(sites));
  Series& control =
      comparison.Measure("the same transfers, hashed and forgotten", BytesPerRound(sites));
  Series& round = comparison.Measure("round", BytesPerRound(sites));
  comparison.Compare("round", round, control);
  uint64_t rounds = 0;
  const uint64_t syncs_before = aggregator.Syncs();
  comparison.Run(options.repetitions, [&] {
    absl::Duration before = CpuOfThisProcess() + discard.Cpu();
    const absl::Duration transfers = sites.RunControl({}, discard_address);
    control.Note(transfers, CpuOfThisProcess() + discard.Cpu() - before);
    before = CpuOfThisProcess() + aggregator.Cpu();
    const absl::Duration whole = sites.Run({}).made;
    ++rounds;
    round.Note(whole, CpuOfThisProcess() + aggregator.Cpu() - before);
  });
  comparison.State("fsyncs_per_round", (aggregator.Syncs() - syncs_before) / rounds);
  comparison.State("server_memory_growth_bytes", aggregator.MemoryBytesMax() - memory_before);
  comparison.Report(options.json);
}

}  // namespace
}  // namespace consilium::bench

int main(int argc, char** argv) {
  consilium::bench::Options options;
  CLI::App app("How long a whole round of K echo sites takes.");
  app.add_option("--sites", options.sites, "K")->check(CLI::Range(1, 64));
  app.add_option("--parameters", options.parameters, "Of the model, about; 0: the smallest");
  app.add_option("--repetitions", options.repetitions, "Counted ones")->check(CLI::Range(1, 1000));
  app.add_option("--json", options.json, "File for the figures");
  CLI11_PARSE(app, argc, argv);
  consilium::bench::Run(options);
}
