// Scores of a model, as sums that add over sites: a site sends these and never scores of single
// patients, and the values over all sites follow from the added sums.
//
// Threads: any.

#ifndef CONSILIUM_MODELS_METRICS_METRICS_H_
#define CONSILIUM_MODELS_METRICS_METRICS_H_

#include <cstddef>
#include <optional>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "consilium/v1/coordination.pb.h"
#include "consilium/v1/model_spec.pb.h"
#include "consilium/v1/run_config.pb.h"

namespace consilium {

// What a model says of examples, and what is true of them.
struct Predictions {
  std::span<const float> outputs;  // [count, width], row-major: logits, or numbers for MSE.
  size_t width = 1;  // Classes for CROSS_ENTROPY, intervals for DISCRETE_HAZARD, 1 otherwise.
  // [count]: 0 or 1, a class index, or a number. COX and DISCRETE_HAZARD: the time of the event, or
  // minus the time at which watching ended without one (0 there: an event has a time above 0).
  std::span<const float> labels;
  // DISCRETE_HAZARD only, one for each output: ascending, above 0
  // (models/metrics/discrete_hazard.h).
  std::span<const double> interval_ends = {};
};

// The sums of one site, in f64, in the order of the examples:
//   log_loss_sum    Σ −ln p(label), from logits without overflow; of DISCRETE_HAZARD p is the
//                   probability of what is known of the patient (models/metrics/discrete_hazard.h)
//   correct         examples whose likeliest class is the label; ties go to the lower index, and a
//                   probability of exactly ½ to 0
//   class_*         the same by class of the label
//   auroc_*         pairs (positive, negative), and those in the right order, ties ½ (Hanley and
//                   McNeil, doi:10.1148/radiology.143.1.7063747); O(n log n). Binary labels only,
//                   absent where one class is missing
//   auprc_by_positives  average precision times the number of positives, ties together; binary
//                   labels only, absent without positives
//   calibration_error_by_examples  expected calibration error times the number of examples
//                   (models/metrics/probabilities.h); classes only
//   squared_error_sum  Σ (output − label)², MSE only
//   events          examples whose event was observed, COX and DISCRETE_HAZARD only; also of those
//                   after the last interval
//   c_index_*       pairs of an event and an example that was watched for longer, or as long and
//                   without an event; concordant where the event has the larger output (of
//                   DISCRETE_HAZARD: the larger ExpectedIntervalsLost), ties ½ (Harrell et al.,
//                   doi:10.1001/jama.1982.03320430047030); O(n log n). COX and DISCRETE_HAZARD
//                   only, absent where there is no such pair
//   cox_loss_sum    Σ over events i of ln Σ_{j: T_j ≥ T_i} exp(s_j − s_i): −ln of Cox's partial
//                   likelihood with Breslow's ties (doi:10.1111/j.2517-6161.1972.tb00899.x);
//                   COX only
// Without examples, or where an output is not finite, only `examples` is set, and `events`, which
// do not hang on outputs: what can not be computed is absent, never zero. INVALID_ARGUMENT where
// sizes do not fit or a label is none of the loss's.
absl::StatusOr<v1::MetricSums> MetricSumsOf(v1::Loss::Kind loss, const Predictions& predictions);

// Whether a peer's sums can be some: finite, no part larger than its whole, at most
// limits::kClassesMax classes. INVALID_ARGUMENT names the field.
absl::Status CheckMetricSums(const v1::MetricSums& sums);

// The sums over both sites' examples. Where one side has examples but could not compute a sum, the
// sum over both is unknown, so absent; only a missing AUROC or AUPRC beside a present log-loss (one
// class only), a missing C-index beside a present loss, and a site that tells nothing of its
// events (they are few) add no pairs and hide nothing. Associative and commutative but for
// rounding: fold in the order of site ids.
v1::MetricSums Merge(const v1::MetricSums& a, const v1::MetricSums& b);

// Values of sums; nothing where they are undefined.
std::optional<double> LogLoss(const v1::MetricSums& sums);   // Mean per example, natural logarithm.
std::optional<double> Accuracy(const v1::MetricSums& sums);  // [0, 1].
// Mean recall over the classes that have examples; nothing with fewer than two of them.
std::optional<double> BalancedAccuracy(const v1::MetricSums& sums);
// Concordant by comparable pairs. Over sites: pairs within sites.
std::optional<double> Auroc(const v1::MetricSums& sums);
// Average precision, [0, 1]. Over sites: their mean, weighted by positives.
std::optional<double> Auprc(const v1::MetricSums& sums);
// Expected calibration error, [0, 1]. Over sites: their mean, weighted by examples; that of all
// examples together is no larger.
std::optional<double> CalibrationError(const v1::MetricSums& sums);
std::optional<double> Mse(const v1::MetricSums& sums);
// Concordant by comparable pairs. Over sites: pairs within sites.
std::optional<double> CIndex(const v1::MetricSums& sums);
std::optional<double> CoxLoss(const v1::MetricSums& sums);  // Per event, within sites.

// By name; nothing for METRIC_UNSPECIFIED too.
std::optional<double> MetricValue(v1::Metric metric, const v1::MetricSums& sums);
bool HigherIsBetter(v1::Metric metric);

// One metric over sites that reported their sums, in the order given.
struct MetricOverSites {
  std::optional<double> by_examples;  // Of the merged sums: each example counts the same.
  std::optional<double> by_sites;     // Unweighted mean over the sites where it is defined.
  std::optional<double> worst;        // Of the sites where it is defined.
  size_t sites_defined = 0;
};
MetricOverSites OverSites(v1::Metric metric, std::span<const v1::MetricSums> sites);

}  // namespace consilium

#endif  // CONSILIUM_MODELS_METRICS_METRICS_H_
