// Feature skew: hospitals that measure alike things with unlike instruments.
//
// Threads: any.

#ifndef CONSILIUM_SIM_PARTITION_FEATURE_NOISE_H_
#define CONSILIUM_SIM_PARTITION_FEATURE_NOISE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "consilium/v1/data_contract.pb.h"
#include "site_agent/ingest/raw_row.h"

namespace consilium {

struct FeatureNoiseOptions {
  double level = 0;  // >= 0.
  size_t sites = 1;
  uint64_t seed = 0;
};

// x += N(0, (level·k/N)²)·σ for every measured number x of site k = 1 … N, σ the standard deviation
// of its column over all rows (arXiv:2102.02079), of a tensor over all of its numbers; then x is
// kept within the contract's range, and whole where the contract wants it whole. What was not
// measured, categories and labels stay. `site_of` gives each row's site, from 0. Rows known by
// their content get the id of their new one.
void AddFeatureNoise(const v1::DataContract& contract, const FeatureNoiseOptions& options,
                     std::span<const size_t> site_of, std::vector<RawRow>& rows);

}  // namespace consilium

#endif  // CONSILIUM_SIM_PARTITION_FEATURE_NOISE_H_
