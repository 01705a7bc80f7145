#include "site_agent/runtime/describe_plan.h"

#include <google/protobuf/text_format.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "models/spec/local_steps.h"
#include "models/spec/personal_layers.h"
#include "models/spec/preset_traits.h"
#include "models/spec/run_plan.h"
#include "protocol/core/printable_text.h"
#include "protocol/wire/hash.h"
#include "site_agent/core/tasks.h"

namespace consilium::site {
namespace {

// An answer on the control socket has room for it (control_socket.h).
constexpr size_t kPlanTextBytesMax = size_t{2} << 20;

std::string StepsText(LocalStepsRange steps) {
  return steps.min == steps.max ? absl::StrCat(steps.max)
                                : absl::StrCat(steps.min, " to ", steps.max);
}

std::string ReadsOf(const v1::DataContract& contract) {
  std::vector<std::string> columns;
  for (const v1::Column& column : contract.columns()) columns.push_back(column.name());
  columns.push_back(contract.label().column());
  if (contract.label().has_survival()) {
    columns.push_back(contract.label().survival().event_column());
  }
  if (!contract.patient_id_column().empty()) columns.push_back(contract.patient_id_column());
  return PrintableText(absl::StrCat("the data set that was imported under contract \"",
                                    contract.name(), "\", columns ", absl::StrJoin(columns, ", ")),
                       {.bytes_max = 20000});
}

std::string WeightsOf(const v1::RunPlan& plan) {
  const absl::StatusOr<ModelGraph> graph = GraphOf(plan);
  if (!graph.ok()) return "a model that this agent can not read";
  size_t personal = 0;
  for (const ElementRange& range : PersonalRanges(*graph)) personal += range.end - range.begin;
  const std::string zeros =
      personal == 0
          ? ""
          : absl::StrCat(" (zeros for the ", personal, " of the layers ",
                         absl::StrJoin(plan.config().training().personal().layers(), ", "),
                         ", which stay at this site)");
  return absl::StrCat(graph->layout.elements(), " numbers, one for each weight of the model",
                      zeros);
}

}  // namespace

std::vector<std::string> DescribeReleases(const v1::RunPlan& resolved, uint64_t minimum_count) {
  const v1::RunConfig& config = resolved.config();
  const v1::TrainingConfig& training = config.training();
  std::vector<std::string> sentences;
  sentences.push_back("Once, if it is approved: on how many rows this site would train.");
  if (config.data().standardise() != v1::DataConfig::NONE) {
    int numbers = 0;
    for (const v1::Column& column : resolved.contract().columns()) numbers += column.has_number();
    sentences.push_back(absl::StrCat(
        "Once: for each of the ", numbers,
        " columns of numbers, the count, the exact sum and the exact sum of squares over the "
        "training patients."));
  }
  sentences.push_back(absl::StrCat(
      "Up to ", TasksMax(resolved), " times: an update of ", WeightsOf(resolved), ", after ",
      StepsText(LocalStepsOf(config)), " steps of ", training.batch_examples(),
      " rows each; with it the mean loss and the number of training rows."));
  if (KeptBySites(config) == SiteKeeps::kPersonalModel) {
    sentences.push_back(
        "Beside it this site trains a model of its own, which stays here; the sums below are of "
        "it.");
  }
  sentences.push_back(absl::StrCat("For up to ", uint64_t{config.stop().versions_max()} + 1,
                                   " versions of the model: sums of its errors on the validation "
                                   "patients; for one of them the same on the test patients."));
  sentences.push_back(absl::StrCat("Each of these is over at least ", minimum_count,
                                   " patients, or it does not leave."));
  if (resolved.spec().loss().kind() == v1::Loss::DISCRETE_HAZARD) {
    sentences.push_back(absl::StrCat(
        "What an update says of two neighbouring intervals of time differs by those patients alone "
        "who left in between: look whether at least ",
        minimum_count, " of this site's patients die, or leave, in each."));
  }
  sentences.push_back(
      "Not protected: there is no differential privacy and no secure aggregation. Whoever runs the "
      "aggregator sees this site's updates in the clear, and an update says something about the "
      "patients it was trained on.");
  return sentences;
}

nlohmann::json DescribePlan(const RunId& id, const RunState& run, uint64_t minimum_count) {
  nlohmann::json out = {{"run", id.value()}, {"plan_sha256", ToHex(run.plan_hash)}};
  if (run.decision != nullptr && !run.approved()) out["refusal"] = run.refusal;
  if (!run.missing_data.empty()) out["missing_data"] = run.missing_data;
  if (!run.plan->has_config()) return out;
  out["reads"] = ReadsOf(run.plan->contract());
  out["releases"] = DescribeReleases(*run.plan, minimum_count);
  // The printer writes out whatever is not printable ASCII.
  std::string text;
  google::protobuf::TextFormat::PrintToString(*run.plan, &text);
  if (text.size() > kPlanTextBytesMax) {
    text = absl::StrCat(text.substr(0, kPlanTextBytesMax), "\n# cut here: the whole plan has ",
                        text.size(), " bytes, more than anyone reads\n");
  }
  out["plan"] = std::move(text);
  return out;
}

}  // namespace consilium::site
