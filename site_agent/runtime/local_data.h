// The rows of this hospital as a run sees them: the data set that was imported under the run's
// contract, split by patient, and encoded once the run's standardisation is known. Read from the
// sealed store when first needed and kept in memory, for one run at a time.
//
// Ownership: borrows the store. Threads: one (the work thread).

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_LOCAL_DATA_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_LOCAL_DATA_H_

#include <cstdint>
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
#include "site_agent/runtime/statistics_sets.h"

namespace consilium::site {

struct TrainingPart {
  uint64_t examples = 0;  // Rows.
  uint64_t patients = 0;
  // Of so many patients an update is at the least, whichever rows its batches draw: with
  // batch_examples · steps rows, of the fewest steps that the plan may ask for, drawn without
  // replacement, from those who have the most.
  uint64_t patients_per_update_min = 0;
  // With a DISCRETE_HAZARD (PatientsPerInterval), empty otherwise.
  std::vector<uint64_t> patients_per_interval;
};

class LocalData {
 public:
  explicit LocalData(SiteStore* store) : store_(store) {}

  // What the run would train on here. Refusal NO_DATASET where nothing, or more than one data set,
  // was imported under the run's contract.
  absl::StatusOr<TrainingPart> Training(const v1::RunPlan& plan);

  // Over whom Statistics() would be.
  absl::StatusOr<std::vector<MeasuredSet>> MeasuredSets(const v1::RunPlan& plan,
                                                        uint64_t minimum_count);

  // n, Σx and Σx² over it; a feature that fewer patients than that have is withheld.
  absl::StatusOr<v1::StatisticsReport> Statistics(const v1::RunPlan& plan, uint64_t minimum_count);

  // Valid until the next call.
  absl::StatusOr<const SplitExamples*> Encoded(const v1::RunPlan& plan,
                                               const v1::Standardisation& standardisation);

 private:
  struct Rows {
    Digest plan_hash = {};
    int64_t dataset = 0;
    std::vector<RawRow> rows;
    std::vector<v1::Split> parts;
  };
  struct Encoding {
    Digest plan_hash = {};
    Digest standardisation_hash = {};
    SplitExamples examples;
  };
  // The rows as they are in the store now; the encoding of others is dropped.
  absl::Status Load(const v1::RunPlan& plan);
  void Forget();

  SiteStore* const store_;
  std::optional<Rows> rows_;
  std::optional<Encoding> encoding_;
};

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_LOCAL_DATA_H_
