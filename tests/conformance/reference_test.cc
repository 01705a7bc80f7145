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
void DeliverArrival(LearningFederation& federation, int k) {
  federation.Deliver((k * k + k / 3) % 4, static_cast<uint64_t>((3 * k) % 4),
                     {((7 * k + 3) % 11 - 5) / 8.0, ((5 * k + 1) % 13 - 6) / 16.0});
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
    EXPECT_NEAR(weights[0], row.weights[0], 1e-12) << "version " << row.version;
    EXPECT_NEAR(weights[1], row.weights[1], 1e-12) << "version " << row.version;
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
        std::pair("ca2fl", "preset: CA2FL trigger { buffer { updates: 3 } }"),
        std::pair("table",
                  "preset: STALENESS_WEIGHTED_TABLE trigger { buffer { updates: 2 } } "
                  "server { sgd { learning_rate: 1 learning_rate_final: 0.3 "
                  "decay_versions: 6 } }")),
    [](const auto& info) { return std::string(info.param.first); });

}  // namespace
}  // namespace consilium::federation
