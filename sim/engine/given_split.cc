#include "sim/engine/given_split.h"

#include <fstream>
#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/identity.h"
#include "site_agent/ingest/csv_reader.h"

namespace consilium {
namespace {

v1::Split PartNamed(absl::string_view name) {
  return name == "train"        ? v1::TRAIN
         : name == "validation" ? v1::VALIDATION
         : name == "test"       ? v1::TEST
                                : v1::SPLIT_UNSPECIFIED;
}

// Each line is kept, and takes several times its bytes.
constexpr uint64_t kSplitFileBytesMax = uint64_t{1} << 30;

absl::Status Wrong(const std::string& path, uint64_t line, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ":", line, ": ", what));
}

bool IsHeader(const CsvRecord& record, absl::string_view key) {
  return record.problem().empty() && record.size() == 3 && record.field(0) == "site" &&
         record.field(1) == key && record.field(2) == "part";
}

}  // namespace

absl::StatusOr<GivenSplit> GivenSplit::Read(const std::string& path) {
  auto file = std::make_unique<std::ifstream>(path, std::ios::binary);
  if (!file->is_open()) return SystemError("open", path);
  CsvOptions options;
  options.file_bytes_max = kSplitFileBytesMax;
  CsvReader reader(std::move(file), options);
  CsvRecord record;
  CONSILIUM_ASSIGN_OR_RETURN(const bool has_header, reader.Next(record));
  GivenSplit split;
  split.path_ = path;
  split.by_patient_ = has_header && IsHeader(record, "patient");
  if (!has_header || (!split.by_patient_ && !IsHeader(record, "row"))) {
    return Wrong(path, 1, "the header must be site,patient,part or site,row,part");
  }
  while (true) {
    CONSILIUM_ASSIGN_OR_RETURN(const bool has_record, reader.Next(record));
    if (!has_record) return split;
    if (!record.problem().empty()) return Wrong(path, record.line(), record.problem());
    if (record.size() != 3) return Wrong(path, record.line(), "must have three fields");
    const v1::Split part = PartNamed(record.field(2));
    if (part == v1::SPLIT_UNSPECIFIED) {
      return Wrong(path, record.line(), "the part must be train, validation or test");
    }
    const std::string site(record.field(0));
    if (const absl::Status legal = CheckSiteId(site); !legal.ok()) {
      return Wrong(path, record.line(), legal.message());
    }
    if (!split.parts_.emplace(Key(SiteId(site), std::string(record.field(1))), part).second) {
      return Wrong(path, record.line(), "is there twice");
    }
  }
}

GivenSplit::Key GivenSplit::KeyOf(const SiteId& site, size_t row, const RawRow& values) const {
  return {site, by_patient_ ? values.patient_id : absl::StrCat(row)};
}

absl::Status GivenSplit::CheckAllFound(size_t found) const {
  if (found == parts_.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(path_, " names ", parts_.size(),
                                                 " rows or patients, of which ",
                                                 parts_.size() - found, " are not in the data"));
}

absl::Status GivenSplit::Divide(FederationData& data) const {
  std::set<Key> found;
  for (auto& entry : data) {
    std::vector<RawRow> rows;
    rows.swap(entry.second.rows);
    entry.second.parts.clear();
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto line = parts_.find(KeyOf(entry.first, i, rows[i]));
      if (line == parts_.end()) continue;
      found.insert(line->first);
      entry.second.rows.push_back(std::move(rows[i]));
      entry.second.parts.push_back(line->second);
    }
  }
  return CheckAllFound(found.size());
}

absl::StatusOr<FederationData> GivenSplit::DealOut(std::vector<RawRow> rows) const {
  if (!by_patient_) {
    return absl::InvalidArgumentError(
        absl::StrCat(path_,
                     " names rows of sites, but only patients tell which site a row of one "
                     "table belongs to"));
  }
  std::map<std::string, SiteId> site_of;
  for (const auto& entry : parts_) {
    if (!site_of.emplace(entry.first.second, entry.first.first).second) {
      return absl::InvalidArgumentError(absl::StrCat(path_, " gives a patient to two sites"));
    }
  }
  FederationData data;
  for (RawRow& row : rows) {
    const auto site = site_of.find(row.patient_id);
    if (site != site_of.end()) data[site->second].rows.push_back(std::move(row));
  }
  return data;
}

}  // namespace consilium
