#include "sim/datasets/manifests.h"

#include <stdio.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/text_format.h"
#include "sim/report/embed_file.h"

CONSILIUM_EMBED(consilium_dataset_diabetes, CONSILIUM_DATASETS_FOLDER "/diabetes-130us.textproto");
CONSILIUM_EMBED(consilium_dataset_digits, CONSILIUM_DATASETS_FOLDER "/digits.textproto");
CONSILIUM_EMBED(consilium_dataset_dna, CONSILIUM_DATASETS_FOLDER "/dna-tal1.textproto");
CONSILIUM_EMBED(consilium_dataset_mitbih, CONSILIUM_DATASETS_FOLDER "/ecg-mitbih.textproto");
CONSILIUM_EMBED(consilium_dataset_ptbxl, CONSILIUM_DATASETS_FOLDER "/ecg-ptbxl.textproto");
CONSILIUM_EMBED(consilium_dataset_eicu, CONSILIUM_DATASETS_FOLDER "/eicu-demo.textproto");
CONSILIUM_EMBED(consilium_dataset_fashion, CONSILIUM_DATASETS_FOLDER "/fashion-mnist.textproto");
CONSILIUM_EMBED(consilium_dataset_tcga, CONSILIUM_DATASETS_FOLDER "/fed-tcga-brca.textproto");
CONSILIUM_EMBED(consilium_dataset_heart, CONSILIUM_DATASETS_FOLDER "/heart-disease-uci.textproto");
CONSILIUM_EMBED(consilium_dataset_pneumonia, CONSILIUM_DATASETS_FOLDER "/pneumoniamnist.textproto");
CONSILIUM_EMBED(consilium_dataset_wdbc, CONSILIUM_DATASETS_FOLDER "/wdbc.textproto");

namespace consilium {
namespace {

struct Text {
  const char* begin;
  const char* end;
};

constexpr Text kTexts[] = {
    {consilium_dataset_diabetes_begin, consilium_dataset_diabetes_end},
    {consilium_dataset_digits_begin, consilium_dataset_digits_end},
    {consilium_dataset_dna_begin, consilium_dataset_dna_end},
    {consilium_dataset_mitbih_begin, consilium_dataset_mitbih_end},
    {consilium_dataset_ptbxl_begin, consilium_dataset_ptbxl_end},
    {consilium_dataset_eicu_begin, consilium_dataset_eicu_end},
    {consilium_dataset_fashion_begin, consilium_dataset_fashion_end},
    {consilium_dataset_tcga_begin, consilium_dataset_tcga_end},
    {consilium_dataset_heart_begin, consilium_dataset_heart_end},
    {consilium_dataset_pneumonia_begin, consilium_dataset_pneumonia_end},
    {consilium_dataset_wdbc_begin, consilium_dataset_wdbc_end},
};

absl::Status Refuse(const v1::DatasetManifest& manifest, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("data set \"", manifest.name(), "\": ", why));
}

bool IsName(absl::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

std::vector<std::string> MadeFrom(const v1::DatasetFile& file) {
  switch (file.made_case()) {
    case v1::DatasetFile::kUnpackedFrom:
      return {file.unpacked_from()};
    case v1::DatasetFile::kZipMember:
      return {file.zip_member().file()};
    case v1::DatasetFile::kTableLines:
      return {file.table_lines().file()};
    case v1::DatasetFile::kEcgArray:  // The records, too, which its table names.
      return {file.ecg_array().database(), file.ecg_array().statements()};
    case v1::DatasetFile::kDrawnSequences:
      return {file.drawn_sequences().motifs()};
    default:
      return {};
  }
}

absl::Status CheckFiles(const v1::DatasetManifest& manifest) {
  std::set<std::string> before;
  for (const v1::DatasetFile& file : manifest.files()) {
    if (!StaysInFolder(file.path())) {
      return Refuse(manifest, absl::StrCat("the path \"", file.path(), "\" leaves its folder"));
    }
    if (file.bytes() == 0 || file.bytes() > kDatasetFileBytesMax ||
        !DigestFromHex(file.sha256()).has_value()) {
      return Refuse(manifest, absl::StrCat(file.path(), " needs its size and its SHA-256"));
    }
    for (const std::string& from : MadeFrom(file)) {
      if (before.count(from) > 0) continue;
      return Refuse(manifest, absl::StrCat(file.path(), " is made of ", from,
                                           ", which must stand before it"));
    }
    if (!before.insert(file.path()).second) {
      return Refuse(manifest, absl::StrCat(file.path(), " is there twice"));
    }
  }
  return before.empty() ? Refuse(manifest, "has no files") : absl::OkStatus();
}

template <typename Source>
void AddFiles(const Source& source, std::set<std::string>& files) {
  if (!source.file().empty()) files.insert(source.file());
  for (const v1::ArrayColumn& column : source.arrays()) {
    for (const v1::ArrayPart& part : column.parts()) files.insert(part.file());
  }
}

// The texts are part of the program, and a test reads each.
std::vector<v1::DatasetManifest> ParseAll() {
  std::vector<v1::DatasetManifest> manifests;
  for (const Text& text : kTexts) {
    v1::DatasetManifest& manifest = manifests.emplace_back();
    absl::Status status =
        ParseTextFormat(absl::string_view(text.begin, static_cast<size_t>(text.end - text.begin)),
                        "a data set's manifest", manifest);
    if (status.ok()) status = CheckManifest(manifest);
    if (status.ok()) continue;
    fprintf(stderr, "%s\n", std::string(status.message()).c_str());
    abort();
  }
  std::sort(manifests.begin(), manifests.end(),
            [](const v1::DatasetManifest& a, const v1::DatasetManifest& b) {
              return a.name() < b.name();
            });
  return manifests;
}

}  // namespace

bool StaysInFolder(const std::string& path) {
  const std::filesystem::path parts(path);
  if (path.empty() || path.find('\0') != std::string::npos || parts.is_absolute()) return false;
  return std::none_of(parts.begin(), parts.end(), [](const std::filesystem::path& part) {
    return part.empty() || part == ".." || part == ".";
  });
}

const std::vector<v1::DatasetManifest>& AllManifests() {
  static const auto* const manifests = new std::vector<v1::DatasetManifest>(ParseAll());
  return *manifests;
}

absl::StatusOr<const v1::DatasetManifest*> FindManifest(absl::string_view name) {
  std::vector<std::string> names;
  for (const v1::DatasetManifest& manifest : AllManifests()) {
    if (manifest.name() == name) return &manifest;
    names.push_back(manifest.name());
  }
  return absl::InvalidArgumentError(absl::StrCat("no data set is named \"", name, "\" (",
                                                 absl::StrJoin(names, ", "),
                                                 "); a scenario names files of one's own"));
}

absl::Status CheckManifest(const v1::DatasetManifest& manifest) {
  if (!IsName(manifest.name())) return Refuse(manifest, "a name is [a-z0-9-]{1,64}");
  if (manifest.source().empty() || manifest.licence().empty() || manifest.citation().empty()) {
    return Refuse(manifest, "needs source, licence and citation");
  }
  if (!manifest.base_url().empty() && !absl::StartsWith(manifest.base_url(), "https://")) {
    return Refuse(manifest, "base_url must be an https address");
  }
  CONSILIUM_RETURN_IF_ERROR(CheckFiles(manifest));
  for (const std::string& file : FilesOf(manifest.table())) {
    if (FindFile(manifest, file) == nullptr) {
      return Refuse(manifest,
                    absl::StrCat("its table names ", file, ", which is none of its files"));
    }
  }
  const bool has_table = manifest.table().source_case() != v1::Dataset::SOURCE_NOT_SET;
  if (has_table != !manifest.contract_file().empty() || has_table != manifest.no_table().empty()) {
    return Refuse(manifest, "needs table and contract_file, or no_table");
  }
  return absl::OkStatus();
}

const v1::DatasetFile* FindFile(const v1::DatasetManifest& manifest, absl::string_view path) {
  for (const v1::DatasetFile& file : manifest.files()) {
    if (file.path() == path) return &file;
  }
  return nullptr;
}

std::set<std::string> FilesOf(const v1::Dataset& dataset) {
  std::set<std::string> files;
  AddFiles(dataset.partitioned(), files);
  AddFiles(dataset.together(), files);
  for (const v1::SiteFile& site : dataset.natural().sites()) AddFiles(site, files);
  return files;
}

}  // namespace consilium
