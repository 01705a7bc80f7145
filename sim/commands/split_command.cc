#include "sim/commands/split_command.h"

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "models/spec/run_plan.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "sim/commands/run_command.h"
#include "sim/engine/scenario_checks.h"
#include "sim/engine/site_data.h"
#include "sim/report/split_preview.h"

namespace consilium {
namespace {

// Shortest text that reads back as the same number.
std::string NumberText(double value) {
  for (int digits : {6, 9, 12, 15}) {
    const std::string text = absl::StrFormat("%.*g", digits, value);
    if (std::stod(text) == value) return text;
  }
  return absl::StrFormat("%.17g", value);
}

std::string FieldText(const v1::Column& column, double value) {
  if (std::isnan(value)) return "";
  if (column.has_category()) return column.category().values(static_cast<int>(value));
  return NumberText(value);
}

std::string LabelText(const v1::Label& label, double value) {
  switch (label.kind_case()) {
    case v1::Label::kBinary:
      return value == 1 ? label.binary().positive(0) : label.binary().negative(0);
    case v1::Label::kClasses:
      return label.classes().values(static_cast<int>(value));
    case v1::Label::kSurvival:
      return absl::StrCat(NumberText(std::abs(value)), ",",
                          value > 0 ? label.survival().observed(0) : label.survival().censored(0));
    default:
      return NumberText(value);
  }
}

std::string CsvOf(const v1::DataContract& contract, const SiteData& data) {
  std::string csv;
  for (const v1::Column& column : contract.columns()) absl::StrAppend(&csv, column.name(), ",");
  absl::StrAppend(&csv, contract.label().column());
  if (contract.label().has_survival()) {
    absl::StrAppend(&csv, ",", contract.label().survival().event_column());
  }
  absl::StrAppend(&csv, "\n");
  for (const RawRow& row : data.rows) {
    for (int i = 0; i < contract.columns_size(); ++i) {
      absl::StrAppend(&csv, FieldText(contract.columns(i), row.values[i]), ",");
    }
    absl::StrAppend(&csv, LabelText(contract.label(), row.label), "\n");
  }
  return csv;
}

absl::Status Write(const SplitCommand& command, const v1::DataContract& contract,
                   const FederationData& data) {
  if (command.out.empty()) {
    return absl::InvalidArgumentError("data split: --out FOLDER says where the files go");
  }
  if (contract.csv().header() == v1::CsvFormat::ABSENT || !contract.patient_id_column().empty()) {
    return absl::InvalidArgumentError(
        "data split: only contracts with a header line and without a patient column can be dealt "
        "out so far; --preview shows any");
  }
  for (const v1::Column& column : contract.columns()) {
    if (!column.has_tensor()) continue;
    return absl::InvalidArgumentError(absl::StrCat("data split: the column \"", column.name(),
                                                   "\" is a tensor, which a CSV file can not hold; "
                                                   "--preview shows the sites"));
  }
  CONSILIUM_RETURN_IF_ERROR(MakeFolders(command.out, 0755));
  for (const auto& [site, site_data] : data) {
    const std::string path = absl::StrCat(command.out, "/", site.value(), ".csv");
    CONSILIUM_RETURN_IF_ERROR(WriteFileDurably(path, CsvOf(contract, site_data), 0600));
    absl::PrintF("%s: %d rows\n", path, site_data.rows.size());
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Execute(const SplitCommand& command) {
  CONSILIUM_RETURN_IF_ERROR(CheckOrderOfFiles(command.run_file, command.scenario_file));
  CONSILIUM_ASSIGN_OR_RETURN(const v1::RunPlan plan, LoadRunPlan(command.run_file, {}));
  const std::string folder =
      command.data_folder.empty()
          ? std::filesystem::path(command.scenario_file).parent_path().string()
          : command.data_folder;
  CONSILIUM_ASSIGN_OR_RETURN(const v1::Scenario scenario,
                             LoadScenario(command.scenario_file, folder));
  CONSILIUM_ASSIGN_OR_RETURN(const FederationData data, LoadScenarioData(scenario, plan, folder));
  if (command.mode == SplitCommand::Mode::kWrite) return Write(command, plan.contract(), data);
  const SplitPreview preview = PreviewOf(plan, data);
  if (command.output == SplitCommand::Output::kJson) {
    absl::PrintF("%s\n", ToJson(preview).dump(2));
  } else {
    absl::PrintF("%s", TextTable(preview));
  }
  return absl::OkStatus();
}

}  // namespace consilium
