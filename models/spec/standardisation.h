// x ↦ (x − mean)/deviation, from sums that the sites send once and never from rows: the statistics
// phase of a run. The aggregator folds the reports; the sites apply what comes back.
//
// Threads: any.

#ifndef CONSILIUM_MODELS_SPEC_STANDARDISATION_H_
#define CONSILIUM_MODELS_SPEC_STANDARDISATION_H_

#include <map>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "consilium/v1/coordination.pb.h"
#include "consilium/v1/data_contract.pb.h"
#include "protocol/core/ids.h"

namespace consilium {

// Whether a report from a site can be one under the contract: an entry for each feature, finite,
// and such as n values within the feature's range can have (n·min ≤ Σx ≤ n·max, Σx² ≥ (Σx)²/n).
// INVALID_ARGUMENT names the feature.
absl::Status CheckStatistics(const v1::DataContract& contract, const v1::StatisticsReport& report);

// Folds in f64 in the order of site ids, so every replay gives the same bits:
//   mean = Σ_i Σx / Σ_i n,  deviation = √max(Σ_i Σx² / Σ_i n − mean², 0)
// over the population; deviation 1 where a feature is constant (its variance is below 1e-12 of
// its second moment, which is rounding) or nobody measured it (mean 0 then). Features of categories
// keep mean 0 and deviation 1: they stay 0 or 1. INVALID_ARGUMENT where there is no report, or
// names the site whose report fails CheckStatistics.
absl::StatusOr<v1::Standardisation> FoldStatistics(
    const v1::DataContract& contract, const std::map<SiteId, v1::StatisticsReport>& reports);

// Whether a standardisation from the aggregator fits the contract: an entry for each feature,
// finite, deviations above 0. INVALID_ARGUMENT names the feature.
absl::Status CheckStandardisation(const v1::DataContract& contract,
                                  const v1::Standardisation& standardisation);

// Canonical digest by bits, for ModelIdentity (protocol/wire/identity.h).
Digest StandardisationHash(const v1::Standardisation& standardisation);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_SPEC_STANDARDISATION_H_
