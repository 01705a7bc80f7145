#include "sim/datasets/fetch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "sim/datasets/download.h"
#include "sim/datasets/locate.h"
#include "sim/datasets/part_file.h"
#include "sim/datasets/unpack.h"

namespace consilium {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPieceBytes = 1 << 20;

using BytesSeen = std::function<void(uint64_t bytes)>;

bool IsAddress(absl::string_view from) {
  return absl::StartsWithIgnoreCase(from, "http://") ||
         absl::StartsWithIgnoreCase(from, "https://");
}

bool IsMade(const v1::DatasetFile& file) {
  return file.made_case() != v1::DatasetFile::MADE_NOT_SET &&
         file.made_case() != v1::DatasetFile::kDerived;
}

std::string Below(absl::string_view address, absl::string_view path) {
  absl::ConsumeSuffix(&address, "/");
  return absl::StrCat(address, "/", path);
}

// The folder of the data set's files within `from`, where that is a folder.
absl::StatusOr<std::string> SourceFolder(const v1::DatasetManifest& manifest,
                                         absl::string_view from) {
  absl::ConsumePrefix(&from, "file://");
  if (absl::StrContains(from, "://")) {
    return absl::InvalidArgumentError(
        absl::StrCat("--from ", from, ": give a folder, or an address of https, http or file"));
  }
  const fs::path given{std::string(from)};
  std::error_code ignored;
  if (fs::is_directory(given / manifest.name(), ignored)) return (given / manifest.name()).string();
  if (fs::is_directory(given, ignored)) return given.string();
  return absl::NotFoundError(absl::StrCat("--from ", given.string(), " is no folder"));
}

absl::StatusOr<std::string> InstalledFile(const v1::DatasetManifest& manifest,
                                          const v1::DatasetFile& file) {
  std::string path = (fs::path(InstalledFolder(manifest)) / file.path()).string();
  std::error_code ignored;
  if (fs::exists(path, ignored)) return path;
  return absl::NotFoundError(absl::StrCat(path, " is not there, where it comes with ",
                                          manifest.source(),
                                          "; --from FOLDER takes it from elsewhere"));
}

// A path or an address.
absl::StatusOr<std::string> OriginOf(const v1::DatasetManifest& manifest,
                                     const v1::DatasetFile& file, const FetchOptions& options) {
  if (IsAddress(options.from)) return Below(options.from, file.path());
  if (!options.from.empty()) {
    CONSILIUM_ASSIGN_OR_RETURN(const std::string folder, SourceFolder(manifest, options.from));
    return (fs::path(folder) / file.path()).string();
  }
  if (!manifest.installed_in().empty()) return InstalledFile(manifest, file);
  if (manifest.base_url().empty() || file.has_derived()) {
    return absl::NotFoundError(
        absl::StrCat(manifest.name(), "/", file.path(), " has no address",
                     file.has_derived() ? absl::StrCat(" (", file.derived(), ")") : "",
                     "; --from FOLDER takes it from there. Its source: ", manifest.source()));
  }
  return Below(manifest.base_url(), file.remote().empty() ? file.path() : file.remote());
}

absl::Status Copy(const std::string& from, const v1::DatasetFile& file, const BytesSeen& seen,
                  PartFile& part) {
  // Not blocked by a FIFO.
  const int fd = open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return SystemError("can not open", from);
  const absl::Cleanup closer = [fd] { close(fd); };
  struct stat info;
  if (fstat(fd, &info) != 0) return SystemError("can not look at", from);
  if (!S_ISREG(info.st_mode) || static_cast<uint64_t>(info.st_size) != file.bytes()) {
    return absl::DataLossError(
        absl::StrFormat("%s is not the file of %d bytes that it must be: it has %d", from,
                        file.bytes(), info.st_size));
  }
  CONSILIUM_RETURN_IF_ERROR(part.Clear());
  std::string piece(kPieceBytes, '\0');
  while (part.bytes() < file.bytes()) {
    const ssize_t n = read(fd, piece.data(), piece.size());
    if (n < 0) return SystemError("can not read", from);
    if (n == 0) return absl::UnavailableError(absl::StrCat(from, " ends early"));
    CONSILIUM_RETURN_IF_ERROR(
        part.Append(absl::string_view(piece).substr(0, static_cast<size_t>(n))));
    seen(part.bytes());
  }
  return absl::OkStatus();
}

absl::Status BringOnce(const std::string& origin, const v1::DatasetFile& file,
                       const BytesSeen& seen, PartFile& part) {
  if (!IsAddress(origin)) {
    CONSILIUM_RETURN_IF_ERROR(Copy(origin, file, seen, part));
  } else {
    CONSILIUM_RETURN_IF_ERROR(FetchUrl({origin, file.bytes(), seen}, part));
  }
  const absl::Status whole = part.Finish(file.sha256());
  if (whole.ok()) return whole;
  return {whole.code(), absl::StrCat(origin, " ", whole.message())};
}

absl::Status Bring(const std::string& origin, const v1::DatasetFile& file, const std::string& path,
                   const BytesSeen& seen) {
  CONSILIUM_ASSIGN_OR_RETURN(PartFile part, PartFile::Open(path));
  const bool goes_on = part.bytes() > 0;
  absl::Status status = BringOnce(origin, file, seen, part);
  // What was there already may have been of another file.
  if (goes_on && absl::IsDataLoss(status)) status = BringOnce(origin, file, seen, part);
  return status;
}

absl::Status Make(const std::string& folder, const v1::DatasetFile& file) {
  CONSILIUM_ASSIGN_OR_RETURN(const std::string content, MakeFile(folder, file));
  const std::string path = (fs::path(folder) / file.path()).string();
  if (content.size() != file.bytes() || ToHex(Sha256Of(content)) != file.sha256()) {
    return absl::DataLossError(
        absl::StrCat(path, " would not have the SHA-256 that it must have, ", file.sha256()));
  }
  CONSILIUM_RETURN_IF_ERROR(MakeFolders(fs::path(path).parent_path().string(), 0755));
  return WriteFileDurably(path, content, 0644);
}

}  // namespace

absl::StatusOr<FetchReport> FetchDataset(const v1::DatasetManifest& manifest,
                                         const FetchOptions& options) {
  FetchReport report;
  report.folder = (fs::path(options.into) / manifest.name()).string();
  uint64_t bytes = 0;
  for (const v1::DatasetFile& file : manifest.files()) bytes += file.bytes();
  uint64_t before = 0;
  for (const v1::DatasetFile& file : manifest.files()) {
    const auto seen = [&](uint64_t of_file) {
      options.progress(before + of_file, bytes, file.path());
    };
    if (CheckFile(report.folder, file).ok()) {
      ++report.there_already;
    } else if (IsMade(file)) {
      CONSILIUM_RETURN_IF_ERROR(Make(report.folder, file));
      ++report.made;
    } else {
      CONSILIUM_ASSIGN_OR_RETURN(const std::string origin, OriginOf(manifest, file, options));
      CONSILIUM_RETURN_IF_ERROR(
          Bring(origin, file, (fs::path(report.folder) / file.path()).string(), seen));
      ++report.fetched;
    }
    before += file.bytes();
    seen(0);
  }
  return report;
}

}  // namespace consilium
