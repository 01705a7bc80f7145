// From raw rows to what a model sees, and to the sums that a federation standardises by. Both
// happen on reading, so a store serves runs that encode differently.
//
// Threads: any.

#ifndef CONSILIUM_SITE_AGENT_INGEST_ENCODE_H_
#define CONSILIUM_SITE_AGENT_INGEST_ENCODE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "consilium/v1/coordination.pb.h"
#include "consilium/v1/data_contract.pb.h"
#include "models/spec/examples.h"
#include "site_agent/ingest/raw_row.h"

namespace consilium {

struct SplitRows {
  std::span<const RawRow> rows;
  std::span<const v1::Split> parts;  // As AssignSplit gave them, one for each row.
};

// n, Σx and Σx² of every feature over the training rows, before standardising, in f64 and in the
// rows' order. What was not measured is left out, also where the contract puts a constant there; a
// category's features are all left out: no standardisation needs them, and their sums would be the
// exact counts of its values; a tensor's are, because their sums would be an image of everybody.
// `run_id` stays empty. INVALID_ARGUMENT as below.
absl::StatusOr<v1::StatisticsReport> StatisticsOf(const v1::DataContract& contract,
                                                  const SplitRows& input);

// Of how many patients the sums of each feature are: a patient with many rows counts once.
// INVALID_ARGUMENT as below.
absl::StatusOr<std::vector<uint64_t>> PatientsPerFeature(const v1::DataContract& contract,
                                                         const SplitRows& input);

// The labels of the training rows, and whose they are, as EncodeRows has them but without features.
// INVALID_ARGUMENT where rows and parts are not equally many.
absl::StatusOr<Examples> TrainingLabels(const SplitRows& input);

// Numbers become (x − mean)/deviation, categories 0 or 1 (models/spec/features.h has the order),
// a tensor's numbers what its column of the contract says.
// What was not measured: the contract's constant, encoded as if it had been measured; or, by the
// rule MEAN, the federation's mean, which is 0, and 0 for all of a category's features. An empty
// `standardisation` (a run with Standardise NONE) leaves numbers as they are.
//
// INVALID_ARGUMENT where a row does not fit the contract (which rows imported under it do), where
// the standardisation does not, or a MEAN is asked for and none was exchanged.
absl::StatusOr<SplitExamples> EncodeRows(const v1::DataContract& contract,
                                         const v1::Standardisation& standardisation,
                                         const SplitRows& input);

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_INGEST_ENCODE_H_
