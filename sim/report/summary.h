// A finished run in numbers: made alike from a simulated run and from the replayed journal of a
// real one. Keys of the JSON are an interface: scripts and tests read them.
//
// Ownership: values. Threads: as any value.

#ifndef CONSILIUM_SIM_REPORT_SUMMARY_H_
#define CONSILIUM_SIM_REPORT_SUMMARY_H_

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "aggregator/core/run_state.h"
#include "sim/engine/attacks.h"
#include "sim/engine/baselines.h"
#include "sim/engine/open_scores.h"
#include "sim/report/scores.h"

namespace consilium {

struct SiteSummary {
  std::string name;
  uint64_t train_examples = 0;
  uint64_t updates = 0;  // Included.
  double share = 0;      // p_i = n_i/n.
  double influence = 0;  // Its part of all coefficients; sums to 1 over sites.
  // The part of the run's time, from submission to its end, in which it neither trained nor
  // transferred, whatever it waited for; simulated runs only.
  std::optional<double> idle_fraction;
  std::optional<Scores> alone;
  std::optional<Scores> federated;
  std::optional<Scores> pooled;
};

// One committed version on the curve.
struct CurvePoint {
  double seconds = 0;  // Since submission.
  uint64_t version = 0;
  uint64_t updates = 0;       // Included so far.
  uint64_t upload_bytes = 0;  // Of the updates that were accepted before it committed.
  std::optional<double> validation_loss;
  // On validation patients: over all hospitals, and of the hospital that it serves worst.
  std::optional<double> score;
  std::optional<double> worst_score;
  // On all hospitals' test patients, with nothing withheld: of some versions of a simulation whose
  // versions nobody scored on validation patients.
  std::optional<double> test_loss;
  std::optional<double> test_score;
};

// When a score was first reached on validation patients.
struct TargetReached {
  uint64_t version = 0;
  double seconds = 0;
  uint64_t updates = 0;
  uint64_t upload_bytes = 0;
};

// One update that was merged, and the parts of its coefficient.
struct MergedUpdate {
  std::string site;
  uint64_t task = 0;
  uint64_t version = 0;  // Where it was merged.
  uint64_t base = 0;
  uint64_t staleness = 0;
  double coefficient = 0;
  std::string factors;  // "SIZE 0.41 STALENESS 0.70", in the order of multiplication.
};

// What one site says of the versions on its validation patients.
struct SiteCurve {
  struct Point {
    double seconds = 0;
    uint64_t version = 0;
    std::optional<double> score;                 // In the summary's metric, or its target's.
    std::shared_ptr<const v1::MetricSums> sums;  // Of some examples; never null.
  };
  std::string site;
  std::vector<Point> points;
};

// What a site did, in seconds since submission.
struct SiteActivity {
  std::string site;
  std::string kind;  // train, download or upload.
  double begin = 0;
  double end = 0;
};

// How a summary is made.
struct SummaryOptions {
  // May be null. Their scores are told as far as each hospital tells those of the result: the three
  // columns, and their totals, are over the same patients.
  const Baselines* baselines = nullptr;
  // Default: the plan's stop.target, where it has one.
  std::optional<v1::StopConfig::Target> target;
};

struct RunSummary {
  std::string title;  // Of this run in tables and legends.
  std::string dataset;
  // Hex digests of the rows of all hospitals with their parts, and of the scenario; simulated runs
  // only.
  std::string data_sha256;
  std::string scenario_sha256;
  // Whether hospitals score a model of their own (FEDPER, FEDBN, DITTO) or the shared one, in
  // `federated` and on the curve.
  enum class Scored : uint8_t { kShared, kPersonal } scored = Scored::kShared;
  std::vector<SiteSummary> sites;
  Scores federated;  // Over all hospitals' test patients.
  std::optional<Scores> alone;
  std::optional<Scores> pooled;
  std::string why_no_scores;       // Empty where there are some.
  std::optional<OpenScores> open;  // Simulated runs only.
  uint64_t versions = 0;
  uint64_t result_version = 0;
  uint64_t updates = 0;
  uint64_t duplicates_absorbed = 0;
  std::vector<uint64_t> staleness;  // Index τ, value: included updates.
  double seconds = 0;               // From submission to the end, on the run's own clock.
  std::string model_sha256;         // Model id of the result version.
  v1::Metric metric = v1::METRIC_UNSPECIFIED;  // By which the result was chosen.
  std::optional<double> best_score;            // Of the result, on validation patients.
  std::optional<double> final_score;           // Of the newest version that has one.
  std::string worst_site;                      // By the loss on test patients; empty: none tells.
  uint64_t upload_bytes = 0;
  std::optional<double> wall_seconds;   // What a simulation took.
  std::optional<double> energy_joules;  // The same of the machine's processors, where it tells.
  std::optional<v1::StopConfig::Target> target;
  std::optional<TargetReached> reached;
  std::vector<CurvePoint> curve;
  std::vector<MergedUpdate> merged;
  std::vector<SiteCurve> site_curves;       // Of the sites that tell anything.
  std::vector<SiteActivity> activity;       // Simulated runs only; the first kActivitiesMax.
  std::optional<BackdoorSuccess> backdoor;  // Of a scenario that has one; over the result version.
};

// In which a curve's scores are: the target's, or the one by which the result was chosen.
v1::Metric MetricOfCurve(const RunSummary& summary);

RunSummary SummaryOf(const federation::RunState& run, const SummaryOptions& options);

nlohmann::json ToJson(const RunSummary& summary);

// The table that people read at the end, plain text, one line a hospital.
std::string TextTable(const RunSummary& summary);
// One line a run: score, versions, updates, time.
std::string ComparisonTable(const std::vector<RunSummary>& runs);

}  // namespace consilium

#endif  // CONSILIUM_SIM_REPORT_SUMMARY_H_
