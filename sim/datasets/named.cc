#include "sim/datasets/named.h"

#include "absl/strings/str_cat.h"
#include "protocol/core/status_macros.h"
#include "sim/datasets/locate.h"
#include "sim/datasets/manifests.h"

namespace consilium {
namespace {

absl::Status Refuse(absl::string_view field, const v1::DatasetManifest& manifest,
                    absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat(field, ": data set \"", manifest.name(), "\" ", why));
}

absl::Status NoTable(absl::string_view field, const v1::DatasetManifest& manifest) {
  return Refuse(field, manifest,
                absl::StrCat("has no table that a run reads: ", manifest.no_table()));
}

template <typename Source>
bool SaysWhere(const Source& source) {
  return !source.file().empty() || !source.arrays().empty();
}

// The one table of the data set, whatever tells its sites.
template <typename Source>
absl::Status TakeTable(absl::string_view field, const v1::DatasetManifest& manifest, Source& to) {
  const v1::Dataset& table = manifest.table();
  if (table.has_together()) {
    to.set_file(table.together().file());
    *to.mutable_arrays() = table.together().arrays();
    return absl::OkStatus();
  }
  if (table.has_partitioned()) {
    to.set_file(table.partitioned().file());
    *to.mutable_arrays() = table.partitioned().arrays();
    return absl::OkStatus();
  }
  if (table.has_natural()) return Refuse(field, manifest, "has a file a site, and no table of all");
  return NoTable(field, manifest);
}

absl::Status CompleteTogether(const v1::DatasetManifest& manifest, v1::Together& together) {
  if (SaysWhere(together)) return absl::OkStatus();
  CONSILIUM_RETURN_IF_ERROR(TakeTable("dataset.together", manifest, together));
  if (together.site_column().empty()) {
    together.set_site_column(manifest.table().together().site_column());
  }
  return absl::OkStatus();
}

// The hospitals that there were.
absl::Status TakeSource(const v1::DatasetManifest& manifest, v1::Dataset& dataset) {
  switch (manifest.table().source_case()) {
    case v1::Dataset::kNatural:
      *dataset.mutable_natural() = manifest.table().natural();
      return absl::OkStatus();
    case v1::Dataset::kTogether:
      *dataset.mutable_together() = manifest.table().together();
      return absl::OkStatus();
    case v1::Dataset::kPartitioned:
      return Refuse("dataset.name", manifest,
                    "tells of no hospitals; say how many it is dealt out to: partitioned { sites: "
                    "… }");
    case v1::Dataset::SOURCE_NOT_SET:
      break;
  }
  return NoTable("dataset.name", manifest);
}

absl::Status CompleteSource(const v1::DatasetManifest& manifest, v1::Dataset& dataset) {
  switch (dataset.source_case()) {
    case v1::Dataset::kPartitioned:
      if (SaysWhere(dataset.partitioned())) return absl::OkStatus();
      return TakeTable("dataset.partitioned", manifest, *dataset.mutable_partitioned());
    case v1::Dataset::kTogether:
      return CompleteTogether(manifest, *dataset.mutable_together());
    case v1::Dataset::kNatural:
      return absl::OkStatus();
    case v1::Dataset::SOURCE_NOT_SET:
      break;
  }
  return TakeSource(manifest, dataset);
}

}  // namespace

absl::Status CompleteFromManifest(v1::Dataset& dataset) {
  if (dataset.name().empty()) return absl::OkStatus();
  CONSILIUM_ASSIGN_OR_RETURN(const v1::DatasetManifest* const manifest,
                             FindManifest(dataset.name()));
  CONSILIUM_RETURN_IF_ERROR(CompleteSource(*manifest, dataset));
  for (const std::string& file : FilesOf(dataset)) {
    if (FindFile(*manifest, file) == nullptr) {
      return Refuse("dataset", *manifest, absl::StrCat("has no file ", file));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> FolderOfFiles(const v1::Dataset& dataset, const std::string& folder) {
  if (dataset.name().empty()) return folder;
  CONSILIUM_ASSIGN_OR_RETURN(const v1::DatasetManifest* const manifest,
                             FindManifest(dataset.name()));
  return LocateDataset(*manifest, FilesOf(dataset), folder);
}

}  // namespace consilium
