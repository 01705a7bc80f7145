#include "models/spec/plan_checks.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "models/spec/aggregation_checks.h"
#include "models/spec/contract_checks.h"
#include "models/spec/field_checks.h"
#include "models/spec/model_graph.h"
#include "models/spec/personal_layers.h"
#include "models/spec/robust_checks.h"
#include "models/spec/run_plan.h"
#include "models/spec/zeno_checks.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

constexpr size_t kRunNameCharsMax = 40;

void CheckName(const std::string& name, Complaints& complaints) {
  const bool fine = !name.empty() && name.size() <= kRunNameCharsMax && name[0] != '-' &&
                    std::all_of(name.begin(), name.end(), [](unsigned char c) {
                      return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-';
                    });
  complaints.Require(fine, "name",
                     "must be 1 to 40 characters of a-z, 0-9 and '-', the first no '-'");
}

void CheckParticipation(const v1::ParticipationConfig& config, Complaints& complaints) {
  std::set<std::string> named;
  for (const std::string& site : config.sites()) {
    if (const absl::Status legal = CheckSiteId(site); !legal.ok()) {
      complaints.Add("participation.sites",
                     absl::StrCat("\"", absl::CEscape(site).substr(0, kRunNameCharsMax),
                                  "\" is no site id: ", legal.message()));
    } else if (!named.insert(site).second) {
      complaints.Add("participation.sites", absl::StrCat("names \"", site, "\" twice"));
    }
  }
  const size_t sites_max =
      config.sites().empty() ? limits::kSitesMax : static_cast<size_t>(config.sites_size());
  complaints.Require(
      config.sites_min() <= sites_max, "participation.sites_min",
      config.sites().empty()
          ? absl::StrFormat("must be at most %d", limits::kSitesMax)
          : absl::StrFormat("must be at most %d, the number of sites that are named", sites_max));
}

void CheckData(const v1::RunPlan& plan, Complaints& complaints) {
  const v1::DataConfig& data = plan.config().data();
  const v1::SplitConfig& split = data.split();
  for (const auto& [share, path] : {std::pair{split.validation(), "data.split.validation"},
                                    std::pair{split.test(), "data.split.test"}}) {
    complaints.Require(share >= 0 && share <= 0.5, path, "must be from 0 to 0.5");
  }
  complaints.Require(!(split.validation() + split.test() >= 0.9), "data.split",
                     "validation and test together must leave more than a tenth for training");
  const bool stratified = split.by() == v1::SplitConfig::PATIENT_STRATIFIED;
  complaints.Require(stratified || split.by() == v1::SplitConfig::PATIENT, "data.split.by",
                     "must be PATIENT or PATIENT_STRATIFIED");
  complaints.Require(!stratified || !plan.contract().label().has_real(), "data.split.by",
                     "PATIENT_STRATIFIED needs a label with classes, not a real one");
  if (data.standardise() == v1::DataConfig::FEDERATED) return;
  complaints.Require(data.standardise() == v1::DataConfig::NONE, "data.standardise",
                     "must be NONE or FEDERATED");
  const auto& columns = plan.contract().columns();
  complaints.Require(std::none_of(columns.begin(), columns.end(),
                                  [](const v1::Column& column) {
                                    return column.has_number() &&
                                           column.missing().rule() == v1::Missing::MEAN;
                                  }),
                     "data.standardise",
                     "NONE exchanges no means, but the contract has a column with missing rule "
                     "MEAN");
}

void CheckOptimizer(const v1::LocalOptimizer& optimizer, Complaints& complaints) {
  const std::string path = "training.optimizer";
  if (optimizer.has_sgd()) {
    const v1::LocalSgd& sgd = optimizer.sgd();
    complaints.Require(IsPositive(sgd.learning_rate()), path + ".sgd.learning_rate",
                       "must be above 0");
    complaints.Require(IsShare(sgd.momentum()), path + ".sgd.momentum",
                       "must be at least 0 and below 1");
    complaints.Require(IsNotNegative(sgd.weight_decay()), path + ".sgd.weight_decay",
                       "must be 0 or more");
  } else if (optimizer.has_adam()) {
    const v1::LocalAdam& adam = optimizer.adam();
    complaints.Require(IsPositive(adam.learning_rate()), path + ".adam.learning_rate",
                       "must be above 0");
    complaints.Require(IsShare(adam.beta1()), path + ".adam.beta1",
                       "must be at least 0 and below 1");
    complaints.Require(IsShare(adam.beta2()), path + ".adam.beta2",
                       "must be at least 0 and below 1");
    complaints.Require(IsPositive(adam.epsilon()), path + ".adam.epsilon", "must be above 0");
    complaints.Require(IsNotNegative(adam.weight_decay()), path + ".adam.weight_decay",
                       "must be 0 or more");
  } else {
    complaints.Add(path, "must be sgd or adam with a learning_rate");
  }
}

void CheckTraining(const v1::RunConfig& config, Complaints& complaints) {
  const v1::TrainingConfig& training = config.training();
  CheckOptimizer(training.optimizer(), complaints);
  complaints.Require(training.batch_examples() <= 65'536, "training.batch_examples",
                     "must be from 1 to 65,536");
  complaints.Require(training.local_steps() <= limits::kLocalStepsMax, "training.local_steps",
                     "must be from 1 to 1,000,000");
  complaints.Require(training.tasks_in_flight_max() <= limits::kTasksInFlightMax,
                     "training.tasks_in_flight_max", "must be 1 or 2");
  complaints.Require(
      training.tasks_in_flight_max() == 1 || !config.aggregation().trigger().has_barrier(),
      "training.tasks_in_flight_max",
      "must be 1 with a barrier: a round's task can not begin before the round does");
  complaints.Require(
      training.tasks_in_flight_max() == 1 || !config.aggregation().trigger().has_groups(),
      "training.tasks_in_flight_max",
      "must be 1 with FEDCOMPASS, which learns a site's speed from one task at a time");
  complaints.Require(
      training.tasks_in_flight_max() == 1 || !config.aggregation().has_concurrency(),
      "training.tasks_in_flight_max",
      "must be 1 with aggregation.concurrency: a slot is for one task, and the next goes to "
      "another site");
  const v1::Concurrency& concurrency = config.aggregation().concurrency();
  complaints.Require(
      concurrency.deadline_ms() == 0 || concurrency.deadline_ms() > training.task_duration_min_ms(),
      "aggregation.concurrency.deadline_ms",
      "must be above training.task_duration_min_ms; else every slot ends before its "
      "task, and more sites train at once than sites_max");
  complaints.Require(IsNotNegative(training.proximal_mu()), "training.proximal_mu",
                     "must be 0 or more");
}

// Which scores a loss's outputs can be given.
bool MetricFits(v1::Metric metric, v1::Loss::Kind loss) {
  switch (metric) {
    case v1::LOG_LOSS:
      return loss == v1::Loss::CROSS_ENTROPY || loss == v1::Loss::BCE_WITH_LOGITS ||
             loss == v1::Loss::DISCRETE_HAZARD;
    case v1::ACCURACY:
    case v1::BALANCED_ACCURACY:
    case v1::CALIBRATION_ERROR:
      return loss == v1::Loss::CROSS_ENTROPY || loss == v1::Loss::BCE_WITH_LOGITS;
    case v1::AUROC:
    case v1::AUPRC:
      return loss == v1::Loss::BCE_WITH_LOGITS;
    case v1::C_INDEX:
      return loss == v1::Loss::COX || loss == v1::Loss::DISCRETE_HAZARD;
    case v1::COX_LOSS:
      return loss == v1::Loss::COX;
    case v1::METRIC_MSE:
      return loss == v1::Loss::MSE;
    default:
      return false;
  }
}

constexpr char kMetricMisfit[] =
    "must be one that the loss has: METRIC_MSE for MSE; C_INDEX or COX_LOSS for COX; C_INDEX or "
    "LOG_LOSS for DISCRETE_HAZARD; LOG_LOSS, ACCURACY, BALANCED_ACCURACY or CALIBRATION_ERROR "
    "otherwise, and AUROC or AUPRC for "
    "BCE_WITH_LOGITS";

void CheckStop(const v1::RunPlan& plan, Complaints& complaints) {
  const v1::StopConfig& stop = plan.config().stop();
  const v1::Loss::Kind loss = plan.spec().loss().kind();
  complaints.Require(stop.versions_max() <= 1'000'000, "stop.versions_max",
                     "must be from 1 to 1,000,000");
  complaints.Require(stop.patience_versions() <= 1'000'000, "stop.patience_versions",
                     "must be at most 1,000,000");
  complaints.Require(MetricFits(stop.select_by(), loss), "stop.select_by", kMetricMisfit);
  const bool validates = plan.config().data().split().validation() > 0;
  complaints.Require(validates || stop.patience_versions() == 0, "stop.patience_versions",
                     "needs data.split.validation above 0");
  if (!stop.has_target()) return;
  const v1::StopConfig::Target& target = stop.target();
  complaints.Require(validates, "stop.target", "needs data.split.validation above 0");
  complaints.Require(MetricFits(target.metric(), loss), "stop.target.metric", kMetricMisfit);
  const bool is_share = target.metric() != v1::LOG_LOSS && target.metric() != v1::METRIC_MSE &&
                        target.metric() != v1::COX_LOSS;
  complaints.Require(IsPositive(target.value()) && (!is_share || target.value() <= 1),
                     "stop.target.value",
                     is_share ? "must be above 0 and at most 1" : "must be above 0");
}

// What the outputs of `graph` mean must be what the contract's label says.
void CheckLabelFits(const ModelGraph& graph, const v1::Label& label, Complaints& complaints) {
  if (label.kind_case() == v1::Label::KIND_NOT_SET) return;  // CheckContract complained.
  switch (graph.loss) {
    case v1::Loss::BCE_WITH_LOGITS:
      complaints.Require(label.has_binary(), "contract.label",
                         "must be binary for a spec with loss BCE_WITH_LOGITS");
      return;
    case v1::Loss::MSE:
      complaints.Require(label.has_real(), "contract.label",
                         "must be real for a spec with loss MSE");
      return;
    case v1::Loss::COX:
      complaints.Require(label.has_survival(), "contract.label",
                         "must be survival for a spec with loss COX");
      return;
    case v1::Loss::DISCRETE_HAZARD:
      if (!label.has_survival()) {
        complaints.Add("contract.label", "must be survival for a spec with loss DISCRETE_HAZARD");
        return;
      }
      complaints.Require(
          label.survival().interval_ends_size() == graph.output_shape()[0],
          "contract.label.survival.interval_ends",
          absl::StrFormat("must be %d, one for each output of the spec (loss DISCRETE_HAZARD), "
                          "not %d",
                          graph.output_shape()[0], label.survival().interval_ends_size()));
      return;
    default: {
      const int64_t classes = label.has_binary() ? 2 : label.classes().values_size();
      const bool has_classes = label.has_binary() || label.has_classes();
      complaints.Require(has_classes && classes == graph.output_shape()[0], "contract.label",
                         absl::StrFormat("must have %d classes, one for each output of the spec",
                                         graph.output_shape()[0]));
    }
  }
}

// Running statistics are averaged; a step that divides by its own history leads them anywhere, and
// variances below zero.
void CheckBuffersFit(const ModelGraph& graph, const v1::AggregationConfig& aggregation,
                     Complaints& complaints) {
  const bool shares_buffers =
      std::any_of(graph.layers.begin(), graph.layers.end(), [&graph](const GraphLayer& layer) {
        return layer.spec.has_batch_norm() && !IsPersonal(graph, layer);
      });
  if (!shares_buffers) return;
  complaints.Require(aggregation.preset() != v1::AggregationConfig::ZENO, "aggregation.preset",
                     "can not be ZENO for a spec with batch_norm, whose running statistics are no "
                     "direction to be lengthened or compared; group_norm has none");
  const v1::ServerOptimizer& server = aggregation.server();
  complaints.Require(server.has_sgd() && server.sgd().momentum() == 0, "aggregation.server",
                     "must be sgd without momentum for a spec with batch_norm, whose running "
                     "statistics are averaged like parameters; group_norm has none");
}

void CheckModel(const v1::RunPlan& plan, Complaints& complaints) {
  const absl::StatusOr<ModelGraph> graph = GraphOf(plan);
  if (!graph.ok()) {
    // "layers.hidden: …" becomes "spec.layers.hidden: …".
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(graph.status().message(), absl::MaxSplits(": ", 1));
    complaints.Add(absl::StrCat("spec.", parts.first), parts.second);
    return;
  }
  int64_t inputs = 1;
  for (const int64_t size : graph->input_shape) inputs *= size;
  const int64_t features = static_cast<int64_t>(FeatureCount(plan.contract()));
  complaints.Require(inputs == features, "spec.input_shape",
                     absl::StrFormat("has room for %d numbers, but the contract gives %d features",
                                     inputs, features));
  CheckLabelFits(*graph, plan.contract().label(), complaints);
  CheckBuffersFit(*graph, plan.config().aggregation(), complaints);
  CheckPersonal(*graph, plan.config(), complaints);
}

}  // namespace

void CheckPlan(const v1::RunPlan& plan, Complaints& complaints) {
  if (plan.ByteSizeLong() > limits::kControlMessageBytesMax) {
    complaints.Add("plan", absl::StrFormat("config, spec and contract together have more than %d "
                                           "bytes",
                                           limits::kControlMessageBytesMax));
    return;
  }
  CheckFieldsKnown(plan, complaints);
  const v1::RunConfig& config = plan.config();
  CheckName(config.name(), complaints);
  CheckParticipation(config.participation(), complaints);
  CheckContract(plan.contract(), complaints);
  CheckModel(plan, complaints);
  CheckData(plan, complaints);
  CheckTraining(config, complaints);
  CheckAggregation(config.aggregation(), complaints);
  CheckTrainingFits(config.aggregation(), config.training(), complaints);
  CheckRobustness(config, complaints);
  CheckZeno(config, complaints);
  CheckStop(plan, complaints);
  complaints.Require(!config.has_privacy(), "privacy", "is not built yet; remove the block");
  complaints.Require(v1::Retention_IsValid(config.retention()), "retention",
                     "must be KEEP_FOR_RUN or UNTIL_DURABLE");
}

}  // namespace consilium
