// Runs beside each other: which is better, and whether the difference is more than seeds make.
//
// Ownership: values. Threads: any.

#ifndef CONSILIUM_SIM_REPORT_COMPARISON_H_
#define CONSILIUM_SIM_REPORT_COMPARISON_H_

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "consilium/v1/run_config.pb.h"

namespace consilium {

// One point of a curve in a summary.json.
struct ComparedPoint {
  double seconds = 0;
  double updates = 0;
  double upload_bytes = 0;
  // By its key, "validation_loss" to "test_score"; scores are in curve_in.
  std::map<std::string, double> values;
};

// One run of an experiment.
struct ComparedRun {
  double loss = 0;                                  // On test patients of all hospitals.
  std::map<v1::Metric, double> scores;              // On the same; those that the summary has.
  v1::Metric selected_by = v1::METRIC_UNSPECIFIED;  // That of its run config.
  v1::Metric curve_in = v1::METRIC_UNSPECIFIED;     // Its target's, else as selected_by.
  // Of the rows with their hospitals and parts, and of the scenario; empty where it does not say.
  std::string data_sha256;
  std::string scenario_sha256;
  std::optional<double> worst_loss;      // Of the hospital that it serves worst.
  std::optional<double> target_seconds;  // Absent: not reached, or none was set.
  std::vector<ComparedPoint> curve;
};

// What one summary.json holds, by seed; a run without seeds is seed 0.
struct Experiment {
  std::string name;
  std::map<uint64_t, ComparedRun> seeds;
};

// INVALID_ARGUMENT where `json` is no summary.json of `consilium-sim run`, or has no loss.
absl::StatusOr<Experiment> ExperimentOf(const std::string& name, const nlohmann::json& json);

// A difference over the seeds that both have, a − b, with its two-sided 95 % interval by Student's
// t (paired where there are two such seeds or more; else no interval).
struct Difference {
  size_t pairs = 0;
  double mean = 0;
  std::optional<double> half_width;
  bool BeyondNoise() const;
};
Difference PairedDifference(const std::vector<double>& a, const std::vector<double>& b);

// The quantile .975 of Student's t with so many degrees of freedom, 1 or more.
double StudentT975(size_t degrees);

// What decides; absent: the loss that training minimised.
using DecidedBy = std::optional<v1::Metric>;

// `metric`, a name of v1.Metric; where it is empty, what all run configs select by where all runs
// have it on test patients, else the loss. INVALID_ARGUMENT: no metric of that name, or a run that
// does not have it.
absl::StatusOr<DecidedBy> DecideBy(const std::vector<Experiment>& experiments,
                                   absl::string_view metric);

// "B has the lower test loss, by … (95 % …, 5 seeds)": one line for each other experiment beside
// the first.
std::vector<std::string> Sentences(const std::vector<Experiment>& experiments,
                                   DecidedBy decided_by = {});

// "B and A differ in their data, …": at most one line for each other experiment beside the first,
// where what is compared is not the rule alone.
std::vector<std::string> WarningsOf(const std::vector<Experiment>& experiments);

nlohmann::json ComparisonJson(const std::vector<Experiment>& experiments,
                              DecidedBy decided_by = {});

// One line a run and seed: run,seed,loss,worst_loss,target_seconds and every metric of the run
// config by its name, all on test patients; empty where the summary does not have it.
std::string ComparisonCsv(const std::vector<Experiment>& experiments);

// compare.html: curves of the validation loss, or of the score (as CurveToDraw), over time, updates
// and bytes with a band from the least to the greatest seed.
std::string ComparisonHtml(const std::vector<Experiment>& experiments, DecidedBy decided_by = {});

}  // namespace consilium

#endif  // CONSILIUM_SIM_REPORT_COMPARISON_H_
