#include "models/spec/run_plan.h"

#include <filesystem>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "models/spec/complaints.h"
#include "models/spec/features.h"
#include "models/spec/personal_layers.h"
#include "models/spec/plan_checks.h"
#include "models/spec/plan_defaults.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/text_format.h"
#include "protocol/wire/text_path.h"

namespace consilium {
namespace {

// Reads `file`, which the config at `config_path` names in its field `field`.
absl::Status ReadNamedFile(const std::string& config_path, absl::string_view field,
                           const std::string& file, google::protobuf::Message& message) {
  if (file.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(field, ": must name a file."));
  }
  const std::filesystem::path folder = std::filesystem::path(config_path).parent_path();
  const absl::Status read = ReadTextFormatFile((folder / file).string(), message);
  // What does not parse has a place of its own: file, line and column.
  if (read.ok() || absl::IsInvalidArgument(read)) return read;
  return absl::Status(read.code(), absl::StrCat(field, ": ", read.message()));
}

// What begins an override of the model spec.
constexpr absl::string_view kSpecPath = "spec.";

absl::Status SetInConfig(const std::vector<std::string>& overrides, v1::RunConfig& config) {
  for (const std::string& override : overrides) {
    if (absl::StartsWith(override, kSpecPath)) continue;
    CONSILIUM_RETURN_IF_ERROR(SetByPath(override, config));
  }
  return absl::OkStatus();
}

absl::Status SetInSpec(const std::vector<std::string>& overrides, v1::ModelSpec& spec) {
  for (const std::string& override : overrides) {
    if (!absl::StartsWith(override, kSpecPath)) continue;
    const absl::Status set = SetByPath(override.substr(kSpecPath.size()), spec);
    if (!set.ok()) return absl::Status(set.code(), absl::StrCat(kSpecPath, set.message()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SetInPlan(const std::vector<std::string>& overrides, v1::RunPlan& plan) {
  CONSILIUM_RETURN_IF_ERROR(SetInConfig(overrides, *plan.mutable_config()));
  return SetInSpec(overrides, *plan.mutable_spec());
}

absl::StatusOr<v1::RunPlan> LoadRunPlan(const std::string& path,
                                        const std::vector<std::string>& overrides) {
  v1::RunPlan plan;
  CONSILIUM_RETURN_IF_ERROR(ReadTextFormatFile(path, *plan.mutable_config()));
  CONSILIUM_RETURN_IF_ERROR(SetInConfig(overrides, *plan.mutable_config()));
  CONSILIUM_RETURN_IF_ERROR(ReadNamedFile(path, "model.spec_file",
                                          plan.config().model().spec_file(), *plan.mutable_spec()));
  CONSILIUM_RETURN_IF_ERROR(SetInSpec(overrides, *plan.mutable_spec()));
  CONSILIUM_RETURN_IF_ERROR(ReadNamedFile(
      path, "data.contract_file", plan.config().data().contract_file(), *plan.mutable_contract()));
  return ResolvePlan(std::move(plan));
}

absl::StatusOr<v1::RunPlan> ResolvePlan(v1::RunPlan plan) {
  FillPlanDefaults(plan);
  const std::vector<std::string> complaints = ComplaintsAbout(plan);
  if (!complaints.empty()) return absl::InvalidArgumentError(absl::StrJoin(complaints, "\n"));
  return plan;
}

std::vector<std::string> ComplaintsAbout(const v1::RunPlan& resolved) {
  Complaints complaints;
  CheckPlan(resolved, complaints);
  return complaints.Take();
}

absl::StatusOr<ModelGraph> GraphOf(const v1::RunPlan& resolved) {
  const auto& given = resolved.config().model().parameters();
  CONSILIUM_ASSIGN_OR_RETURN(
      ModelGraph graph,
      BuildModelGraph(resolved.spec(), std::map<std::string, int64_t>(given.begin(), given.end())));
  if (graph.loss == v1::Loss::DISCRETE_HAZARD) {
    const auto& ends = resolved.contract().label().survival().interval_ends();
    graph.interval_ends.assign(ends.begin(), ends.end());
  }
  MarkPersonal(resolved.config().training().personal(), graph);
  return graph;
}

size_t FeatureCount(const v1::DataContract& contract) {
  size_t count = 0;
  for (const v1::Column& column : contract.columns()) {
    if (column.has_number()) ++count;
    if (column.has_tensor()) count += TensorElements(column.tensor());
    if (!column.has_category() || column.category().values().empty()) continue;
    count += static_cast<size_t>(column.category().values_size()) -
             (column.category().drop_first() ? 1 : 0);
  }
  return count;
}

}  // namespace consilium
