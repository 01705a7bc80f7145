// Random federations: reordered, duplicated and lost messages, copies of stores, and crashes
// anywhere. CONSILIUM_PROPERTY_SEQUENCES sets how many (10,000 unless said otherwise);
// CONSILIUM_PROPERTY_SEED=n runs the n-th alone, as a failure prints it.

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/aggregator/core/federation_fixture.h"
#include "tests/aggregator/core/random_federation.h"

namespace consilium::federation {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  uint64_t value = otherwise;
  if (text != nullptr && !absl::SimpleAtoi(text, &value)) ADD_FAILURE() << name << "=" << text;
  return value;
}

std::vector<std::shared_ptr<const v1::RunPlan>> Plans() {
  const char* const aggregations[] = {
      "preset: STALENESS_WEIGHTED_TABLE",
      // NOLINTNEXTLINE(bugprone-suspicious-missing-comma): one text on two lines, as some below.
      "preset: STALENESS_WEIGHTED_TABLE trigger { buffer { updates: 5 } } "
      "staleness { hinge { slope: 2 free: 1 } } server { adam {} }",
      "preset: FEDAVG",
      "preset: FEDAVG trigger { barrier { deadline_ms: 30 sites_min: 2 } } "
      "server { sgd { momentum: 0.5 } }",
      "preset: FEDAVG trigger { barrier { deadline_ms: 30 sites_per_round: 2 } }",
      "preset: FEDAVG trigger { barrier { deadline_ms: 30 sites_per_round: 3 sites_min: 2 } }",
      "preset: FEDAVG trigger { buffer { updates: 3 } } staleness { polynomial {} }",
      "preset: FEDASYNC limits { staleness_versions_max: 1 }",
      "preset: FEDASYNC",
      "preset: FEDBUFF trigger { buffer { updates: 3 } }",
      "preset: FEDBUFF trigger { buffer { updates: 1 } } rate_correction { cap: 2 decay: 0.5 }",
      "preset: CA2FL",
      "preset: CA2FL trigger { buffer { updates: 4 } } limits { staleness_versions_max: 0 }",
      "preset: STALENESS_WEIGHTED_TABLE trigger { barrier { deadline_ms: 20 } }",
      "preset: FEDADAM",
      "preset: FEDYOGI trigger { interval { interval_ms: 40 } } staleness { hinge {} } "
      "server { yogi {} delay_adaptive { of: MEAN } }",
      "preset: FEDNOVA trigger { barrier { deadline_ms: 25 } }",
      "preset: FEDNOVA trigger { buffer { updates: 3 } } staleness { polynomial {} }",
      "preset: ACE",
      "preset: ACED entry_age_versions_max: 1",
      "preset: FADAS trigger { interval { interval_ms: 15 } }",
      "preset: DC_ASGD",
      "preset: STALE_SYNCHRONOUS trigger { bounded { updates_ahead_max: 1 } }",
      "preset: STALE_SYNCHRONOUS",
      "preset: FEDBUFF_FLSIM trigger { buffer { updates: 2 } }",
      "preset: FEDBUFF_NVFLARE trigger { buffer { updates: 3 } }",
      "preset: FEDBUFF_APPFL trigger { buffer { updates: 2 } }",
      "preset: FEDBUFF_PLATO trigger { buffer { updates: 2 } }",
      "preset: COORDINATE_MEDIAN",
      "preset: TRIMMED_MEAN trigger { buffer { updates: 4 } } combine { band_versions: 1 "
      "trimmed_mean {} }",
      "preset: KRUM trigger { barrier { deadline_ms: 30 } }",
      "preset: MULTI_KRUM trigger { buffer { updates: 5 } } combine { krum { hostile_max: 1 } "
      "band_versions: 2 }",
      "preset: GEOMETRIC_MEDIAN trigger { buffer { updates: 3 } } transform { clip_norm: 0.5 }",
      "preset: NORM_BOUND transform { clip_norm: 0.5 }",
      "preset: BASGD combine { buckets { buckets: 3 } }",
      "preset: ASYNCFEDED",
      "preset: ZENO transform { zeno { validator: 'a' epsilon: 0.5 } }",
      "preset: ZENO transform { zeno { validator: 'a' } } trigger { buffer { updates: 3 } } "
      "limits { staleness_versions_max: 1 }",
      "preset: ZENO transform { zeno { validator: 'a' } } trigger { interval { interval_ms: 20 } } "
      "limits { staleness_versions_max: 0 }",
      "preset: ZENO transform { zeno { validator: 'a' } } "
      "trigger { barrier { deadline_ms: 30 } } server { adam {} }",
      "preset: FEDCOMPASS",
      "preset: FEDCOMPASS trigger { groups { local_steps_min: 1 local_steps_max: 2 "
      "latest_factor: 1 } } limits { staleness_versions_max: 1 }",
      "preset: FEDBUFF trigger { buffer { updates: 2 } } fairness { window_versions: 3 }",
      "preset: FEDBUFF trigger { interval { interval_ms: 20 } } fairness { window_versions: 5 }",
      "preset: STALENESS_WEIGHTED_TABLE fairness { epsilon: 0.1 window_versions: 2 }",
      "preset: FEDAVG trigger { barrier { deadline_ms: 30 } } fairness { window_versions: 2 }",
      "preset: ADAPTIVE",
      "preset: ADAPTIVE trigger { interval { interval_ms: 20 } } fairness { window_versions: 3 } "
      "server { sgd { momentum: 0.5 } delay_adaptive { of: MEAN } }",
      "preset: FEDBUFF trigger { buffer { updates: 3 } } combine { krum {} } "
      "server { adam {} }",
      "preset: FEDBUFF trigger { buffer { updates: 3 } } "
      "concurrency { sites_max: 2 deadline_ms: 40 }",
      "preset: FEDASYNC concurrency { sites_max: 1 deadline_ms: 25 }",
      "preset: FEDYOGI trigger { interval { interval_ms: 40 } } "
      "concurrency { sites_max: 2 deadline_ms: 90 }",
      "preset: STALE_SYNCHRONOUS trigger { bounded { updates_ahead_max: 1 } } "
      "concurrency { sites_max: 2 deadline_ms: 40 }",
      "preset: BASGD combine { buckets { buckets: 3 } } "
      "concurrency { sites_max: 3 deadline_ms: 60 }",
      "preset: CA2FL concurrency { sites_max: 9 deadline_ms: 40 }",
  };
  const char* const configs[] = {
      "",
      "retention: UNTIL_DURABLE participation { start_deadline_ms: 50 }",
      "stop { patience_versions: 2 }",
      "stop { target { metric: LOG_LOSS value: 0.1 } } retention: UNTIL_DURABLE",
      "data { split { validation: 0 test: 0 } } participation { sites_min: 2 }",
      "data { standardise: FEDERATED } training { tasks_in_flight_max: 1 }",
  };
  std::vector<std::shared_ptr<const v1::RunPlan>> plans;
  for (const char* aggregation : aggregations) {
    for (const char* config : configs) {
      const bool limited = std::string(aggregation).find("limits") != std::string::npos;
      plans.push_back(MakePlan({.aggregation = absl::StrCat(
                                    aggregation, limited ? "" : " limits { update_norm_max: 100 }"),
                                .config = config,
                                .versions_max = 2 + static_cast<uint32_t>(plans.size() % 13)}));
    }
  }
  return plans;
}

TEST(EngineProperties, HoldOverRandomFederationsWithCrashesAnywhere) {
  const auto plans = Plans();
  const uint64_t sequences = FromEnvironment("CONSILIUM_PROPERTY_SEQUENCES", 10'000);
  const uint64_t only = FromEnvironment("CONSILIUM_PROPERTY_SEED", 0);
  const uint64_t first = only == 0 ? 1 : only;
  const uint64_t last = only == 0 ? sequences : only;
  uint64_t versions = 0, folded = 0, absorbed = 0, refused = 0, measured = 0, between = 0;
  for (uint64_t seed = first; seed <= last; ++seed) {
    RandomFederation federation(seed, plans[seed % plans.size()]);
    const std::string complaint = federation.Run();
    ASSERT_EQ(complaint, "") << "CONSILIUM_PROPERTY_SEED=" << seed;
    const RunState& run = federation.run();
    versions += run.versions.size();
    absorbed += run.duplicates_absorbed;
    measured += federation.measured();
    between += federation.crashed_between();
    for (const VersionState& version : run.versions) folded += version.contributions.size();
    for (const auto& [reason, count] : run.refusals) refused += count;
  }
  if (only != 0) return;
  // The schedule reaches what it is for.
  EXPECT_GT(versions, sequences);
  EXPECT_GT(folded, sequences);
  EXPECT_GT(absorbed, sequences / 10);
  EXPECT_GT(refused, sequences / 10);
  EXPECT_GT(measured, sequences / 10);
  EXPECT_GT(between, sequences / 1000);
}

}  // namespace
}  // namespace consilium::federation
