#include "sim/datasets/locate.h"

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "sim/datasets/manifests.h"

namespace consilium {
namespace {

namespace fs = std::filesystem;

constexpr absl::string_view kWheels = "site-packages/";
constexpr size_t kPieceBytes = 1 << 20;

// Empty where it is not set.
std::string Environment(const char* name) {
  const char* value = getenv(name);
  return value == nullptr ? "" : value;
}

std::string InHome(const std::string& below) {
  return (fs::path(Environment("HOME")) / below).string();
}

bool IsFile(const std::string& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

std::string PathIn(const std::string& folder, const std::string& file) {
  return (fs::path(folder) / file).string();
}

// As a run reads them: the table's, or all.
std::set<std::string> FilesToHave(const v1::DatasetManifest& manifest) {
  std::set<std::string> files = FilesOf(manifest.table());
  if (!files.empty()) return files;
  for (const v1::DatasetFile& file : manifest.files()) files.insert(file.path());
  return files;
}

}  // namespace

std::string DefaultDatasetsFolder() {
  const std::string data_home = Environment("XDG_DATA_HOME");
  return PathIn(data_home.empty() ? InHome(".local/share") : data_home, "consilium/datasets");
}

std::string InstalledFolder(const v1::DatasetManifest& manifest) {
  absl::string_view below = manifest.installed_in();
  if (!absl::ConsumePrefix(&below, kWheels)) return manifest.installed_in();
  const std::string deps = Environment("CONSILIUM_DEPS_DIR");
  return PathIn(deps.empty() ? InHome(".cache/consilium") : deps, manifest.installed_in());
}

std::vector<std::string> CandidateFolders(const v1::DatasetManifest& manifest,
                                          const std::string& data_folder) {
  std::vector<std::string> folders;
  if (!data_folder.empty()) {
    folders.push_back(PathIn(data_folder, manifest.name()));
    folders.push_back(data_folder);
  }
  if (const std::string datasets = Environment("CONSILIUM_DATASETS"); !datasets.empty()) {
    folders.push_back(PathIn(datasets, manifest.name()));
  }
  folders.push_back(PathIn(DefaultDatasetsFolder(), manifest.name()));
  if (!manifest.installed_in().empty()) folders.push_back(InstalledFolder(manifest));
  return folders;
}

absl::StatusOr<Digest> HashOfFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file.is_open()) return SystemError("can not open", path);
  Sha256 hash;
  std::string piece(kPieceBytes, '\0');
  while (file.good()) {
    file.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    hash.Update(absl::string_view(piece).substr(0, static_cast<size_t>(file.gcount())));
  }
  if (!file.eof()) return absl::UnavailableError(absl::StrCat("can not read ", path));
  return hash.Finish();
}

absl::Status CheckFile(const std::string& folder, const v1::DatasetFile& file) {
  const std::string path = PathIn(folder, file.path());
  if (!IsFile(path)) return absl::NotFoundError(absl::StrCat(path, " is not there"));
  std::error_code error;
  const uint64_t bytes = fs::file_size(path, error);
  if (error || bytes != file.bytes()) {
    return absl::DataLossError(
        absl::StrFormat("%s has %d bytes, not %d: it is another file", path, bytes, file.bytes()));
  }
  CONSILIUM_ASSIGN_OR_RETURN(const Digest digest, HashOfFile(path));
  if (ToHex(digest) == file.sha256()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(path, " has SHA-256 ", ToHex(digest), ", not ",
                                          file.sha256(), ": it is another file, or damaged"));
}

absl::StatusOr<std::string> LocateDataset(const v1::DatasetManifest& manifest,
                                          const std::set<std::string>& files,
                                          const std::string& data_folder) {
  const std::vector<std::string> folders = CandidateFolders(manifest, data_folder);
  const auto has_all = [&files](const std::string& folder) {
    return std::all_of(files.begin(), files.end(),
                       [&folder](const std::string& file) { return IsFile(PathIn(folder, file)); });
  };
  const auto found = std::find_if(folders.begin(), folders.end(), has_all);
  if (found == folders.end()) {
    return absl::NotFoundError(
        absl::StrCat("data set \"", manifest.name(), "\": ", absl::StrJoin(files, ", "),
                     " in none of ", absl::StrJoin(folders, ", "), "; `consilium-sim data fetch ",
                     manifest.name(), "` gets it"));
  }
  for (const std::string& path : files) {
    const v1::DatasetFile* file = FindFile(manifest, path);
    if (file == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, " is none of the files of data set \"", manifest.name(), "\""));
    }
    CONSILIUM_RETURN_IF_ERROR(CheckFile(*found, *file));
  }
  return *found;
}

DatasetState StateOf(const v1::DatasetManifest& manifest, const std::string& data_folder) {
  DatasetState state;
  const absl::StatusOr<std::string> folder =
      LocateDataset(manifest, FilesToHave(manifest), data_folder);
  if (folder.ok()) {
    state.kind = DatasetState::Kind::kPresent;
    state.folder = *folder;
  } else if (!absl::IsNotFound(folder.status())) {
    state.kind = DatasetState::Kind::kDamaged;
    state.why = std::string(folder.status().message());
  }
  return state;
}

}  // namespace consilium
