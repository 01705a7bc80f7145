// The rows of this hospital as a run sees them: the data set that was imported under the run's
// contract, split by patient, and encoded once the run's standardisation is known. Read from the
// sealed store when first needed and kept in memory, for one run at a time.
//
// Ownership: borrows the store. Threads: one (the work thread).

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_LOCAL_DATA_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_LOCAL_DATA_H_

#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "consilium/v1/coordination.pb.h"
#include "consilium/v1/run_config.pb.h"
#include "models/spec/examples.h"
#include "protocol/core/ids.h"
#include "site_agent/ingest/raw_row.h"
#include "site_agent/runtime/site_store.h"

namespace consilium::site {

class LocalData {
 public:
  explicit LocalData(SiteStore* store) : store_(store) {}

  // Training rows that the run would have here. Refusal NO_DATASET where nothing, or more than one
  // data set, was imported under the run's contract.
  absl::StatusOr<uint64_t> TrainExamples(const v1::RunPlan& plan);

  // n, Σx and Σx² over them, not yet withheld where counts are small.
  absl::StatusOr<v1::StatisticsReport> Statistics(const v1::RunPlan& plan);

  // Valid until the next call.
  absl::StatusOr<const SplitExamples*> Encoded(const v1::RunPlan& plan,
                                               const v1::Standardisation& standardisation);

  // After a data set was replaced.
  void Forget();

 private:
  struct Rows {
    Digest plan_hash = {};
    std::vector<RawRow> rows;
    std::vector<v1::Split> parts;
  };
  struct Encoding {
    Digest plan_hash = {};
    Digest standardisation_hash = {};
    SplitExamples examples;
  };
  absl::Status Load(const v1::RunPlan& plan);

  SiteStore* const store_;
  std::optional<Rows> rows_;
  std::optional<Encoding> encoding_;
};

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_LOCAL_DATA_H_
