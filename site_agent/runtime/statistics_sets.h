// Over whom the sums of a column were released. Two exact sums over training patients that differ
// in one patient are that patient's value, whatever the minimum count of each: so a site remembers
// over whom it has said them, and says no others that lie too near (site_store.h).
//
// Ownership: values. Threads: any.

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_STATISTICS_SETS_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_STATISTICS_SETS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "consilium/v1/data_contract.pb.h"
#include "site_agent/ingest/encode.h"

namespace consilium::site {

struct MeasuredSet {
  std::string column;
  // One for each training patient in whom the column was measured, rising: a keyed hash of column,
  // patient and values. A patient whose values were corrected is another one.
  std::vector<uint64_t> patients;
};

// Of every number that is summed over at least `minimum_count` patients. `key` is the store's own.
// The rows have the contract's columns.
std::vector<MeasuredSet> MeasuredSetsOf(const v1::DataContract& contract, const SplitRows& input,
                                        std::span<const uint8_t> key, uint64_t minimum_count);

// How many patients one of the two sets has that the other one has not: the larger of both counts,
// so that a corrected patient counts once. Both are rising.
size_t DifferenceOf(std::span<const uint64_t> a, std::span<const uint64_t> b);

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_STATISTICS_SETS_H_
