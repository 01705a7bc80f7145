#include "sim/search/hparams_events.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "sim/report/event_records.h"

namespace consilium {
namespace {

constexpr char kObjectiveTag[] = "objective/";
// DataType of api.proto.
constexpr uint64_t kText = 1;
constexpr uint64_t kNumber = 3;
// Status of api.proto.
constexpr uint64_t kSuccess = 1;
constexpr uint64_t kFailure = 2;

// Value{ string tag = 1; TensorProto tensor = 8; SummaryMetadata metadata = 9; } with
// SummaryMetadata{ PluginData plugin_data = 1; }, PluginData{ string plugin_name = 1; bytes
// content = 2; }. `data` is a HParamsPluginData without its version.
void AppendPluginData(absl::string_view tag, const std::string& data, std::string& file) {
  std::string plugin;
  AppendBytesField(1, "hparams", plugin);
  AppendBytesField(2, data, plugin);
  std::string metadata;
  AppendBytesField(1, plugin, metadata);
  // A scalar of type float, whose value is left out: TensorBoard wants a tensor with each tag.
  std::string tensor;
  AppendVarintField(1, 1, tensor);
  AppendBytesField(2, "", tensor);
  std::string value;
  AppendBytesField(1, tag, value);
  AppendBytesField(8, tensor, value);
  AppendBytesField(9, metadata, value);
  AppendValue({}, value, file);
}

// A choice is of numbers where all of its values are.
bool IsNumber(const v1::SearchParameter& parameter) {
  double number = 0;
  for (const std::string& value : parameter.choice().values()) {
    if (!absl::SimpleAtod(value, &number)) return false;
  }
  return true;
}

// google.protobuf.Value{ double number_value = 2; string string_value = 3; }
std::string ValueOf(const v1::SearchParameter& parameter, const std::string& text) {
  std::string value;
  double number = 0;
  if (IsNumber(parameter) && absl::SimpleAtod(text, &number)) {
    AppendDoubleField(2, number, value);
  } else {
    AppendBytesField(3, text, value);
  }
  return value;
}

}  // namespace

// Experiment{ string name = 6; repeated HParamInfo hparam_infos = 4; repeated MetricInfo
// metric_infos = 5; }, HParamInfo{ string name = 1; DataType type = 4; },
// MetricInfo{ MetricName name = 1; string display_name = 3; }, MetricName{ string tag = 2; }
std::string SearchEventFile(const v1::SearchSpace& space) {
  std::string experiment;
  AppendBytesField(6, space.name(), experiment);
  for (const v1::SearchParameter& parameter : space.parameters()) {
    std::string info;
    AppendBytesField(1, parameter.path(), info);
    AppendVarintField(4, IsNumber(parameter) ? kNumber : kText, info);
    AppendBytesField(4, info, experiment);
  }
  for (const v1::SearchObjective& objective : space.objectives()) {
    std::string name;
    AppendBytesField(2, absl::StrCat(kObjectiveTag, objective.name()), name);
    std::string info;
    AppendBytesField(1, name, info);
    AppendBytesField(3, objective.name(), info);
    AppendBytesField(5, info, experiment);
  }
  // HParamsPluginData{ Experiment experiment = 2; }
  std::string data;
  AppendBytesField(2, experiment, data);
  std::string file = BeginEventFile();
  AppendPluginData("_hparams_/experiment", data, file);
  return file;
}

// SessionStartInfo{ map<string, Value> hparams = 1; string group_name = 4; },
// SessionEndInfo{ Status status = 1; }
std::string TrialEventFile(const v1::SearchSpace& space, const Trial& trial) {
  std::string start;
  for (int i = 0; i < space.parameters_size(); ++i) {
    std::string entry;
    AppendBytesField(1, space.parameters(i).path(), entry);
    AppendBytesField(2, ValueOf(space.parameters(i), trial.texts[static_cast<size_t>(i)]), entry);
    AppendBytesField(1, entry, start);
  }
  AppendBytesField(4, absl::StrCat("trial ", trial.number()), start);
  // HParamsPluginData{ SessionStartInfo session_start_info = 3; SessionEndInfo session_end_info =
  // 4; }
  std::string start_data;
  AppendBytesField(3, start, start_data);
  std::string end;
  AppendVarintField(1, trial.succeeded() ? kSuccess : kFailure, end);
  std::string end_data;
  AppendBytesField(4, end, end_data);

  std::string file = BeginEventFile();
  AppendPluginData("_hparams_/session_start_info", start_data, file);
  for (size_t i = 0; i < trial.result.objectives.size(); ++i) {
    AppendScalar({}, absl::StrCat(kObjectiveTag, space.objectives(static_cast<int>(i)).name()),
                 trial.result.objectives[i], file);
  }
  AppendPluginData("_hparams_/session_end_info", end_data, file);
  return file;
}

}  // namespace consilium
