#include "site_agent/runtime/data_import.h"

#include <algorithm>
#include <filesystem>
#include <istream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/text_format.h"
#include "site_agent/ingest/csv_file.h"
#include "site_agent/ingest/csv_import.h"
#include "site_agent/ingest/row_budget.h"
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

json ListAt(const json& request, const char* key) {
  const auto found = request.find(key);
  return found != request.end() && found->is_array() ? *found : json::array();
}

json ArraysRequest(const std::vector<ArrayColumnSource>& arrays) {
  json columns = json::array();
  for (const ArrayColumnSource& source : arrays) {
    json parts = json::array();
    for (const ArrayColumnSource::Part& part : source.parts) {
      parts.push_back({{"file", Absolute(part.file)}, {"array", part.array}});
    }
    columns.push_back({{"column", source.column}, {"parts", std::move(parts)}});
  }
  return columns;
}

absl::StatusOr<std::vector<ArrayColumnSource>> ArraysOf(const json& request) {
  std::vector<ArrayColumnSource> arrays;
  for (const json& column : ListAt(request, "arrays")) {
    ArrayColumnSource& source = arrays.emplace_back();
    source.column = TextAt(column, "column");
    for (const json& part : ListAt(column, "parts")) {
      source.parts.push_back({TextAt(part, "file"), TextAt(part, "array")});
      if (source.parts.back().file.empty()) {
        return absl::InvalidArgumentError("a part of an array names no file");
      }
    }
  }
  return arrays;
}

// Tells at once, and then ten times a second.
class Telling {
 public:
  explicit Telling(const TellProgress& tell) : tell_(tell) {}

  // `progress` is a callable, asked where it is told.
  template <typename Progress>
  absl::Status Tell(Progress&& progress) {
    if (tell_ == nullptr) return absl::OkStatus();
    const absl::Time now = absl::Now();
    if (now - told_ < absl::Milliseconds(100)) return absl::OkStatus();
    told_ = now;
    return tell_(progress());
  }

 private:
  const TellProgress& tell_;
  absl::Time told_ = absl::InfinitePast();
};

double PartOf(uint64_t done, uint64_t of) {
  return static_cast<double>(done) / static_cast<double>(std::max<uint64_t>(of, 1));
}

// Nothing where the rows come from a CSV file, which is read as it is stored.
absl::StatusOr<std::optional<ArrayTable>> ReadArrays(const ImportOptions& options,
                                                     const v1::DataContract& contract,
                                                     const TellProgress& tell) {
  if (!options.csv_file.empty()) return std::nullopt;
  Telling telling(tell);
  const auto unpacked = [&telling](uint64_t bytes, uint64_t of) {
    return telling.Tell([&] { return json{{"part", PartOf(bytes, of)}, {"unpacking", true}}; });
  };
  return ArrayTable::Read(
      options.npz_file.empty() ? options.arrays : ArraysOfArchive(options.npz_file, contract),
      {.contract = contract, .tell = unpacked});
}

// Rows on their way to the store, within their budget, and told of.
class Counted {
 public:
  Counted(const RowSink& sink, const TellProgress& tell) : sink_(sink), telling_(tell) {}

  absl::Status Take(const RawRow& row) {
    CONSILIUM_RETURN_IF_ERROR(budget_.Take(row));
    return sink_(row);
  }

  // After each row, taken or not. `part` of the import lies behind it: a callable of how many rows
  // were read.
  template <typename Part>
  absl::Status Read(Part&& part) {
    ++rows_;
    return telling_.Tell([&] { return json{{"part", part(rows_)}, {"rows", rows_}}; });
  }

 private:
  const RowSink& sink_;
  Telling telling_;
  RowBudget budget_;
  uint64_t rows_ = 0;
};

absl::StatusOr<ImportReport> ReadCsv(const std::string& file, const v1::DataContract& contract,
                                     Counted& rows) {
  CONSILIUM_ASSIGN_OR_RETURN(std::unique_ptr<std::istream> input, OpenCsvFile(file));
  std::streambuf& buffer = *input->rdbuf();
  const std::streamoff bytes = buffer.pubseekoff(0, std::ios::end, std::ios::in);
  buffer.pubseekoff(0, std::ios::beg, std::ios::in);
  const auto part = [&buffer, bytes](uint64_t /*rows*/) {
    const std::streamoff read = buffer.pubseekoff(0, std::ios::cur, std::ios::in);
    return PartOf(static_cast<uint64_t>(read), static_cast<uint64_t>(bytes));
  };
  return ImportCsv(
      std::move(input), contract, [&](const RawRow& row) { return rows.Take(row); },
      [&] { return rows.Read(part); });
}

// `arrays` is null where there are none.
absl::StatusOr<ImportReport> ReadRows(const ImportOptions& options, const ArrayTable* arrays,
                                      const v1::DataContract& contract, const RowSink& sink,
                                      const TellProgress& tell) {
  Counted rows(sink, tell);
  if (arrays == nullptr) return ReadCsv(options.csv_file, contract, rows);
  const auto part = [arrays](uint64_t read) { return PartOf(read, arrays->rows()); };
  return ImportArrays(
      *arrays, [&](const RawRow& row, size_t /*index*/) { return rows.Take(row); },
      [&] { return rows.Read(part); });
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
                                     const v1::DataContract& contract, const ImportOptions& options,
                                     const ArrayTable* arrays, const TellProgress& tell) {
  std::optional<ImportReport> given_up;
  absl::StatusOr<ImportReport> report = store.ReplaceDataset(
      dataset, contract, [&](const RowSink& sink) -> absl::StatusOr<ImportReport> {
        CONSILIUM_ASSIGN_OR_RETURN(ImportReport read,
                                   ReadRows(options, arrays, contract, sink, tell));
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

absl::StatusOr<ArrayColumnSource> ArrayColumnOf(absl::string_view text) {
  constexpr absl::string_view kArchive = ".npz:";
  const auto refuse = [text](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", text, "\" ", what, ": it is COLUMN=FILE[,FILE...], a FILE an IDX file or ",
        "ARCHIVE.npz[:ARRAY]"));
  };
  const size_t equals = text.find('=');
  if (equals == 0 || equals == absl::string_view::npos) return refuse("names no column");
  ArrayColumnSource source;
  source.column = std::string(text.substr(0, equals));
  for (absl::string_view file : absl::StrSplit(text.substr(equals + 1), ',')) {
    ArrayColumnSource::Part& part = source.parts.emplace_back();
    const size_t archive = file.rfind(kArchive);
    if (archive != absl::string_view::npos) {
      part.array = std::string(file.substr(archive + kArchive.size()));
      file = file.substr(0, archive + kArchive.size() - 1);
    }
    part.file = std::string(file);
    if (part.file.empty()) return refuse("has a file without a name");
  }
  return source;
}

json ImportRequest(const ImportOptions& options) {
  return {{"command", "import"},
          {"contract_file", Absolute(options.contract_file)},
          {"csv_file", Absolute(options.csv_file)},
          {"npz_file", Absolute(options.npz_file)},
          {"arrays", ArraysRequest(options.arrays)},
          {"dataset", options.dataset},
          {"report_file", Absolute(options.report_file)},
          {"strict", options.bad_rows == ImportOptions::BadRows::kImportNothing}};
}

absl::StatusOr<ImportOptions> ImportOptionsOf(const json& request) {
  ImportOptions options;
  options.contract_file = TextAt(request, "contract_file");
  options.csv_file = TextAt(request, "csv_file");
  options.npz_file = TextAt(request, "npz_file");
  CONSILIUM_ASSIGN_OR_RETURN(options.arrays, ArraysOf(request));
  options.dataset = TextAt(request, "dataset");
  options.report_file = TextAt(request, "report_file");
  const auto strict = request.find("strict");
  if (strict != request.end() && *strict == true) {
    options.bad_rows = ImportOptions::BadRows::kImportNothing;
  }
  const int places = (options.csv_file.empty() ? 0 : 1) + (options.npz_file.empty() ? 0 : 1) +
                     (options.arrays.empty() ? 0 : 1);
  if (options.contract_file.empty() || places != 1) {
    return absl::InvalidArgumentError(
        "an import needs a contract, and a CSV file, an NPZ archive or arrays");
  }
  return options;
}

absl::StatusOr<json> ImportInto(SiteStore& store, const ImportOptions& options,
                                MayReplace may_replace, const TellProgress& tell) {
  v1::DataContract contract;
  CONSILIUM_RETURN_IF_ERROR(ReadTextFormatFile(options.contract_file, contract));
  const v1::DataContract resolved = ResolvedContract(contract);
  const std::string dataset = options.dataset.empty() ? contract.name() : options.dataset;
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<Digest> contracts,
                             ContractsConcerned(store, dataset, resolved));
  CONSILIUM_RETURN_IF_ERROR(may_replace(contracts));
  // Unpacked before the store is held: others wait for it.
  CONSILIUM_ASSIGN_OR_RETURN(const std::optional<ArrayTable> arrays,
                             ReadArrays(options, resolved, tell));
  // It took its time, in which a run may have begun.
  if (arrays.has_value()) CONSILIUM_RETURN_IF_ERROR(may_replace(contracts));
  CONSILIUM_ASSIGN_OR_RETURN(
      const ImportReport report,
      Replace(store, dataset, resolved, options, arrays.has_value() ? &*arrays : nullptr, tell));
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
