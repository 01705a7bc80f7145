#include "sim/datasets/unpack.h"

#include <zip.h>
#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "sim/datasets/drawn_sequences.h"
#include "sim/datasets/ecg_database.h"
#include "sim/datasets/manifests.h"

namespace consilium {
namespace {

using GzFile = std::unique_ptr<gzFile_s, int (*)(gzFile)>;
using Zip = std::unique_ptr<zip_t, void (*)(zip_t*)>;
using ZipEntry = std::unique_ptr<zip_file_t, int (*)(zip_file_t*)>;

constexpr size_t kPieceBytes = 1 << 20;

absl::Status Damaged(const std::string& path, const v1::DatasetFile& file) {
  return absl::DataLossError(
      absl::StrFormat("%s does not unpack to the %d bytes of %s: it is damaged, or another file",
                      path, file.bytes(), file.path()));
}

// Exactly file.bytes() from `read`, a callable (char* to, size_t n) -> int64_t that gives how many
// it read, 0 at the end, or below 0 where it can not.
template <typename Read>
absl::StatusOr<std::string> ReadAll(const std::string& path, const v1::DatasetFile& file,
                                    Read&& read) {
  std::string content;
  std::string piece(kPieceBytes, '\0');
  while (true) {
    const int64_t n = read(piece.data(), piece.size());
    if (n < 0 || content.size() + static_cast<uint64_t>(std::max<int64_t>(n, 0)) > file.bytes()) {
      return Damaged(path, file);
    }
    if (n == 0) break;
    content.append(piece, 0, static_cast<size_t>(n));
  }
  if (content.size() != file.bytes()) return Damaged(path, file);
  return content;
}

absl::StatusOr<std::string> Gunzip(const std::string& path, const v1::DatasetFile& file) {
  const GzFile packed(gzopen(path.c_str(), "rb"), gzclose_r);
  if (packed == nullptr) return SystemError("can not open", path);
  return ReadAll(path, file, [&packed](char* to, size_t n) {
    return int64_t{gzread(packed.get(), to, static_cast<unsigned>(n))};
  });
}

absl::StatusOr<std::string> Unzip(const std::string& path, const v1::DatasetFile& file) {
  const Zip zip(zip_open(path.c_str(), ZIP_RDONLY, nullptr), zip_discard);
  if (zip == nullptr) {
    return absl::DataLossError(absl::StrCat(path, " is no ZIP archive"));
  }
  const ZipEntry entry(zip_fopen(zip.get(), file.zip_member().member().c_str(), 0), zip_fclose);
  if (entry == nullptr) {
    return absl::DataLossError(
        absl::StrCat(path, " has no readable member ", file.zip_member().member()));
  }
  return ReadAll(path, file,
                 [&entry](char* to, size_t n) { return int64_t{zip_fread(entry.get(), to, n)}; });
}

}  // namespace

absl::StatusOr<std::string> MakeFile(const std::string& folder, const v1::DatasetFile& file) {
  const auto in_folder = [&folder](const std::string& name) {
    return (std::filesystem::path(folder) / name).string();
  };
  switch (file.made_case()) {
    case v1::DatasetFile::kUnpackedFrom:
      return Gunzip(in_folder(file.unpacked_from()), file);
    case v1::DatasetFile::kZipMember:
      return Unzip(in_folder(file.zip_member().file()), file);
    case v1::DatasetFile::kTableLines: {
      CONSILIUM_ASSIGN_OR_RETURN(
          const std::string text,
          ReadFile(in_folder(file.table_lines().file()), kDatasetFileBytesMax));
      return ApplyTableLines(text, file.table_lines());
    }
    case v1::DatasetFile::kEcgArray:
      return MakeEcgArray(folder, file.ecg_array(), file.bytes());
    case v1::DatasetFile::kDrawnSequences:
      return MakeDrawnSequences(folder, file.drawn_sequences(), file.bytes());
    default:
      return absl::InvalidArgumentError(absl::StrCat(file.path(), " is not made of another file"));
  }
}

absl::StatusOr<std::string> ApplyTableLines(absl::string_view text, const v1::TableLines& lines) {
  absl::ConsumeSuffix(&text, "\n");
  const std::vector<absl::string_view> from = absl::StrSplit(text, '\n');
  if (from.size() < lines.lines_left_out()) {
    return absl::DataLossError(absl::StrCat(lines.file(), " has too few lines"));
  }
  std::string table = absl::StrCat(lines.header(), "\n");
  for (size_t i = lines.lines_left_out(); i < from.size(); ++i) {
    const size_t comma = from[i].rfind(',');
    const size_t begin = comma == absl::string_view::npos ? 0 : comma + 1;
    const auto word = lines.last_field().find(std::string(from[i].substr(begin)));
    if (word == lines.last_field().end()) {
      return absl::DataLossError(absl::StrFormat(
          "%s: line %d ends with a word that is not expected", lines.file(), i + 1));
    }
    absl::StrAppend(&table, from[i].substr(0, begin), word->second, "\n");
  }
  return table;
}

}  // namespace consilium
