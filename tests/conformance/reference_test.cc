// The engine's programs against reference.py, which has the rules from the papers and nothing
// else in common with this code.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "absl/strings/string_view.h"
#include "tests/conformance/learning_federation.h"

namespace consilium::federation {
namespace {

struct ReferenceRow {
  absl::string_view name;
  uint64_t version;
  double weights[2];
};
constexpr ReferenceRow kReference[] = {
#include "tests/conformance/reference.inc"
};

constexpr int kArrivals = 24;

// The k-th update; the same in reference.py.
Weights DeltaOf(int k) { return {((7 * k + 3) % 11 - 5) / 8.0, ((5 * k + 1) % 13 - 6) / 16.0}; }

void DeliverArrival(LearningFederation& federation, int k) {
  const uint32_t steps = static_cast<uint32_t>(1 + k % 3);
  if (federation.federation().run().stages.trigger == TriggerStage::kBarrier) {
    federation.Deliver(k % 4, 0, DeltaOf(k), steps);
  } else {
    federation.Deliver((k * k + k / 3) % 4, static_cast<uint64_t>((3 * k) % 4), DeltaOf(k), steps);
  }
}

class Reference : public ::testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(Reference, MakesTheSameModels) {
  LearningFederation federation(GetParam().second, {100, 50, 30, 20});
  for (int k = 0; k < kArrivals; ++k) DeliverArrival(federation, k);
  uint64_t compared = 0;
  for (const ReferenceRow& row : kReference) {
    if (row.name != GetParam().first) continue;
    ++compared;
    ASSERT_LE(row.version, federation.version().version.value());
    const Weights& weights = federation.weights(Version(row.version));
    const Weights produced = federation.produced(Version(row.version));
    ASSERT_EQ(produced.size(), 2u);
    for (size_t i = 0; i < 2; ++i) {
      EXPECT_NEAR(weights[i], row.weights[i], 1e-12) << "version " << row.version;
      EXPECT_NEAR(produced[i], row.weights[i], 2e-6) << "version " << row.version;  // f32.
    }
  }
  EXPECT_EQ(compared, federation.version().version.value());
}

INSTANTIATE_TEST_SUITE_P(
    Rules, Reference,
    ::testing::Values(
        std::pair("fedasync", "preset: FEDASYNC"),
        std::pair("fedbuff",
                  "preset: FEDBUFF trigger { buffer { updates: 3 } } "
                  "server { sgd { learning_rate: 0.5 } }"),
        std::pair("fedbuff_rates",
                  "preset: FEDBUFF trigger { buffer { updates: 3 } } "
                  "rate_correction { cap: 1.2 kappa_per_site: 1 decay: 0.9 }"),
        std::pair("fedbuff_momentum",
                  "preset: FEDBUFF trigger { buffer { updates: 3 } } "
                  "server { sgd { learning_rate: 0.5 momentum: 0.9 } }"),
        std::pair("fedbuff_adam",
                  "preset: FEDBUFF trigger { buffer { updates: 3 } } "
                  "server { adam { learning_rate: 0.1 } }"),
        std::pair("adaptive",
                  "preset: ADAPTIVE trigger { buffer { updates: 3 } } "
                  "fairness { window_versions: 4 local_steps_share_min: 1 } "
                  "server { sgd { learning_rate_final: 0.3 decay_versions: 6 } "
                  "delay_adaptive { of: MEAN staleness_free: 1.2 } }"),
        std::pair("adaptive_guarded",
                  "preset: ADAPTIVE trigger { buffer { updates: 3 } } "
                  "rate_correction { kappa_per_site: 0.01 decay: 1 } "
                  "fairness { epsilon: 0.1 window_versions: 4 local_steps_share_min: 1 } "
                  "server { sgd { learning_rate: 0.5 } }"),
        std::pair("ca2fl", "preset: CA2FL trigger { buffer { updates: 3 } }"),
        std::pair("table",
                  "preset: STALENESS_WEIGHTED_TABLE trigger { buffer { updates: 2 } } "
                  "server { sgd { learning_rate: 1 learning_rate_final: 0.3 "
                  "decay_versions: 6 } }"),
        std::pair("fedprox", "preset: FEDPROX"),
        std::pair("fedadam", "preset: FEDADAM server { adam { learning_rate: 0.1 } }"),
        std::pair("fedadam_flamby",
                  "preset: FEDADAM "
                  "server { adam { learning_rate: 0.01 beta2: 0.999 epsilon: 1e-8 } }"),
        std::pair("fedyogi", "preset: FEDYOGI server { yogi { learning_rate: 0.1 } }"),
        std::pair("fedadagrad", "preset: FEDADAGRAD"),
        std::pair("fedadagrad_flamby",
                  "preset: FEDADAGRAD "
                  "server { adagrad { learning_rate: 0.01 beta1: 0.9 epsilon: 1e-8 } }"),
        std::pair("fedamsgrad", "preset: FEDAMSGRAD server { amsgrad { learning_rate: 0.1 } }"),
        std::pair("fedbuff_amsgrad",
                  "preset: FEDBUFF trigger { buffer { updates: 3 } } "
                  "server { amsgrad { learning_rate: 0.1 } }"),
        std::pair("fednova", "preset: FEDNOVA"),
        std::pair("ace", "preset: ACE server { sgd { learning_rate: 0.5 } }"),
        std::pair("aced", "preset: ACED entry_age_versions_max: 2"),
        std::pair("fadas",
                  "preset: FADAS trigger { buffer { updates: 3 } } "
                  "server { amsgrad { learning_rate: 0.1 } }"),
        std::pair("fadas_mean",
                  "preset: FADAS trigger { buffer { updates: 3 } } "
                  "server { amsgrad { learning_rate: 0.1 } "
                  "delay_adaptive { of: MEAN staleness_free: 1.5 } }"),
        std::pair("dc_asgd", "preset: DC_ASGD transform { delay_compensation: 0.5 }"),
        std::pair("stale_synchronous",
                  "preset: STALE_SYNCHRONOUS trigger { bounded { updates_ahead_max: 99 } } "
                  "server { sgd { learning_rate: 0.25 } }"),
        std::pair("fedbuff_flsim", "preset: FEDBUFF_FLSIM trigger { buffer { updates: 3 } }"),
        std::pair("fedbuff_nvflare", "preset: FEDBUFF_NVFLARE trigger { buffer { updates: 3 } }"),
        std::pair("fedbuff_appfl", "preset: FEDBUFF_APPFL trigger { buffer { updates: 3 } }"),
        std::pair("fedbuff_plato", "preset: FEDBUFF_PLATO trigger { buffer { updates: 3 } }")),
    [](const auto& info) { return std::string(info.param.first); });

}  // namespace
}  // namespace consilium::federation
