#include "site_agent/runtime/data_import.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/text_format.h"
#include "site_agent/ingest/csv_import.h"
#include "site_agent/runtime/agent_status.h"

namespace consilium::site {
namespace {

using nlohmann::json;

constexpr size_t kRefusalsShownMax = 20;

std::string Absolute(const std::string& path) {
  return path.empty() ? path : std::filesystem::absolute(path).lexically_normal().string();
}

std::string TextAt(const json& request, const char* key) {
  const auto found = request.find(key);
  return found != request.end() && found->is_string() ? found->get<std::string>() : "";
}

absl::StatusOr<std::vector<Digest>> ContractsConcerned(SiteStore& store, const std::string& dataset,
                                                       const v1::DataContract& resolved) {
  std::vector<Digest> contracts = {ContractHash(resolved)};
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<DatasetInfo> datasets, store.Datasets());
  for (const DatasetInfo& there : datasets) {
    if (there.name == dataset) contracts.push_back(there.contract_hash);
  }
  return contracts;
}

// The report; of what was stored, where anything was.
absl::StatusOr<ImportReport> Replace(SiteStore& store, const std::string& dataset,
                                     const v1::DataContract& contract,
                                     const ImportOptions& options) {
  std::optional<ImportReport> given_up;
  absl::StatusOr<ImportReport> report = store.ReplaceDataset(
      dataset, contract, [&](const RowSink& sink) -> absl::StatusOr<ImportReport> {
        CONSILIUM_ASSIGN_OR_RETURN(ImportReport read,
                                   ImportCsvFile(options.csv_file, contract, sink));
        if (read.rows_refused == 0 || options.bad_rows == ImportOptions::BadRows::kLeaveOut) {
          return read;
        }
        given_up = std::move(read);
        return absl::AbortedError("rows were refused");
      });
  if (!given_up.has_value()) return report;
  given_up->rows_stored = 0;
  return *std::move(given_up);
}

}  // namespace

json ImportRequest(const ImportOptions& options) {
  return {{"command", "import"},
          {"contract_file", Absolute(options.contract_file)},
          {"csv_file", Absolute(options.csv_file)},
          {"dataset", options.dataset},
          {"report_file", Absolute(options.report_file)},
          {"strict", options.bad_rows == ImportOptions::BadRows::kImportNothing}};
}

absl::StatusOr<ImportOptions> ImportOptionsOf(const json& request) {
  ImportOptions options;
  options.contract_file = TextAt(request, "contract_file");
  options.csv_file = TextAt(request, "csv_file");
  options.dataset = TextAt(request, "dataset");
  options.report_file = TextAt(request, "report_file");
  const auto strict = request.find("strict");
  if (strict != request.end() && *strict == true) {
    options.bad_rows = ImportOptions::BadRows::kImportNothing;
  }
  if (options.contract_file.empty() || options.csv_file.empty()) {
    return absl::InvalidArgumentError("an import needs a contract and a CSV file");
  }
  return options;
}

absl::StatusOr<json> ImportInto(SiteStore& store, const ImportOptions& options,
                                MayReplace may_replace) {
  v1::DataContract contract;
  CONSILIUM_RETURN_IF_ERROR(ReadTextFormatFile(options.contract_file, contract));
  const v1::DataContract resolved = ResolvedContract(contract);
  const std::string dataset = options.dataset.empty() ? contract.name() : options.dataset;
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<Digest> contracts,
                             ContractsConcerned(store, dataset, resolved));
  CONSILIUM_RETURN_IF_ERROR(may_replace(contracts));
  CONSILIUM_ASSIGN_OR_RETURN(const ImportReport report, Replace(store, dataset, resolved, options));
  const std::string report_file = options.report_file.empty()
                                      ? absl::StrCat(store.folder(), "/import-", dataset, ".json")
                                      : options.report_file;
  json described = DescribeImport(report);
  CONSILIUM_RETURN_IF_ERROR(WriteFileDurably(report_file, described.dump(2) + "\n"));
  json& refusals = described.at("refusals");
  if (refusals.size() > kRefusalsShownMax) {
    refusals.erase(refusals.begin() + kRefusalsShownMax, refusals.end());
  }
  described["dataset"] = dataset;
  described["report_file"] = report_file;
  return described;
}

}  // namespace consilium::site
