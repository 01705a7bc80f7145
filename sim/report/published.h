// Figures that somebody published on the same patients, beside ours computed in the same way: the
// mean over centres of each centre's accuracy on its own test patients, and the accuracy over all
// of them. They live in one JSON file a data set, with their citation:
//
//   {"benchmark", "citation", "metric": "accuracy",
//    "protocol": {"split", "training", "stopping", "repeats"},
//    "results": [{"rule", "mean_over_centres", "all_patients"}]}      the last is optional
//
// Ownership: values. Threads: as any value.

#ifndef CONSILIUM_SIM_REPORT_PUBLISHED_H_
#define CONSILIUM_SIM_REPORT_PUBLISHED_H_

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "consilium/v1/run_config.pb.h"
#include "sim/report/summary.h"

namespace consilium {

// How figures came about, in words.
struct Protocol {
  std::string split;
  std::string training;
  std::string stopping;
  std::string repeats;
};

struct AccuracyRow {
  std::string rule;
  std::optional<double> mean_over_centres;  // In [0, 1].
  std::optional<double> all_patients;
};

struct Published {
  std::string benchmark;
  std::string citation;
  Protocol protocol;
  std::vector<AccuracyRow> results;
};

// NOT_FOUND; INVALID_ARGUMENT where the file is not of the form above.
absl::StatusOr<Published> ReadPublished(const std::string& path);

struct PublishedComparison {
  Published published;
  Protocol protocol;  // Ours.
  std::vector<AccuracyRow> ours;
};
// One row a run of the plan or of a variant of it, and one for pooled training where `runs.front()`
// has it.
PublishedComparison CompareWithPublished(Published published, const v1::RunPlan& plan,
                                         const std::vector<RunSummary>& runs);

nlohmann::json ToJson(const PublishedComparison& comparison);
std::string TextTable(const PublishedComparison& comparison);

}  // namespace consilium

#endif  // CONSILIUM_SIM_REPORT_PUBLISHED_H_
