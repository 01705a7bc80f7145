// What it costs to keep and merge updates that come in over mutual TLS. K sites send updates at the
// same time, by turns to
//   * a server that hashes them and forgets them (the control);
//   * the aggregator, with its disk's word not waited for;
//   * the aggregator as it is: nothing is acknowledged before it is durable.
// Versions are made of K updates while the next ones come in, as a federation does it that does not
// wait for its slowest (FedBuff). Told are the time until all have their receipts, and the time
// until all know the version that the last ones made.

#include <CLI/CLI.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "protocol/rpc/credentials.h"
#include "tests/bench/by_turns.h"
#include "tests/bench/echo_sites.h"
#include "tests/bench/server_process.h"

namespace consilium::bench {
namespace {

struct Options {
  int sites = 4;
  int updates = 4;
  uint64_t parameters = 8'000'000;
  int repetitions = kRepetitions;
  std::string json;
};

void Run(const Options& options) {
  testing::AggregatorAccess durable_access, unsynced_access;
  const ServerProcess durable(durable_access, {});
  const ServerProcess unsynced(unsynced_access, {.sync = Sync::kOff});
  const ServerProcess discard(durable_access, {.kind = ServerProcess::Kind::kDiscard});
  InitRpc();
  durable_access.Connect();
  unsynced_access.Connect();
  const v1::RunPlan plan =
      EchoPlan({.parameters = options.parameters,
                .aggregation = absl::StrCat(
                    "preset: FEDBUFF trigger { buffer { updates: ", options.sites, " } }")});
  const EchoSites::Exchange exchange{.fetching = EchoSites::Exchange::Fetching::kUploadOnly,
                                     .updates = options.updates};
  EchoSites durable_sites(durable_access, options.sites, plan);
  EchoSites unsynced_sites(unsynced_access, options.sites, plan);
  const std::string discard_address = ServerProcess::DiscardAddress(durable_access);

  const auto bytes =
      durable_sites.payload_bytes() * static_cast<uint64_t>(options.sites * options.updates);
  Comparison comparison("ingest");
  comparison.State("sites", options.sites);
  comparison.State("updates_per_site", options.updates);
  comparison.State("parameters", durable_sites.payload_bytes() / sizeof(float));
  Series& forgotten = comparison.Measure("hashed and forgotten", bytes);
  Series& unsynced_ingest = comparison.Measure("acknowledged, fsync off", bytes);
  Series& unsynced_merge = comparison.Measure("merged, fsync off", bytes);
  Series& durable_ingest = comparison.Measure("acknowledged, durable", bytes);
  Series& durable_merge = comparison.Measure("merged, durable", bytes);
  comparison.Compare("ingest and merge, fsync off", unsynced_merge, forgotten);
  comparison.Compare("ingest and merge, durable", durable_merge, forgotten);
  comparison.Compare("durable ingest", durable_ingest, unsynced_ingest);
  comparison.Run(options.repetitions, [&] {
    absl::Duration before = CpuOfThisProcess() + discard.Cpu();
    const absl::Duration transfers = durable_sites.RunControl(exchange, discard_address);
    forgotten.Note(transfers, CpuOfThisProcess() + discard.Cpu() - before);
    before = CpuOfThisProcess() + unsynced.Cpu();
    const EchoSites::Times loose = unsynced_sites.Run(exchange);
    unsynced_ingest.Note(loose.accepted);
    unsynced_merge.Note(loose.made, CpuOfThisProcess() + unsynced.Cpu() - before);
    before = CpuOfThisProcess() + durable.Cpu();
    const EchoSites::Times safe = durable_sites.Run(exchange);
    durable_ingest.Note(safe.accepted);
    durable_merge.Note(safe.made, CpuOfThisProcess() + durable.Cpu() - before);
  });
  comparison.Report(options.json);
}

}  // namespace
}  // namespace consilium::bench

int main(int argc, char** argv) {
  consilium::bench::Options options;
  CLI::App app("What keeping and merging updates costs beside only receiving them.");
  app.add_option("--sites", options.sites, "How many send at once")->check(CLI::Range(1, 64));
  app.add_option("--updates", options.updates, "Of one site in a repetition")
      ->check(CLI::Range(1, 1000));
  app.add_option("--parameters", options.parameters, "Of the model, about");
  app.add_option("--repetitions", options.repetitions, "Counted ones")->check(CLI::Range(1, 1000));
  app.add_option("--json", options.json, "File for the figures");
  CLI11_PARSE(app, argc, argv);
  consilium::bench::Run(options);
}
