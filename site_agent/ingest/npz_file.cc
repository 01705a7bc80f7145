#include <unistd.h>
#include <zip.h>

#include <cstdio>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "protocol/core/files.h"
#include "protocol/core/printable_text.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/limits.h"
#include "site_agent/ingest/array_files.h"
#include "site_agent/ingest/packed_bytes.h"

namespace consilium {
namespace {

constexpr absl::string_view kNpyMagic = "\x93NUMPY";
// Magic, version, and the length of the dictionary in 2 bytes (version 1) or 4.
constexpr size_t kNpyPrefixBytes = 8;
// Where libzip looks for the end of an archive: its record, before it perhaps ZIP64's locator,
// behind it a comment.
constexpr uint64_t kEndBytesMax = 22 + 20 + 65536;
constexpr size_t kLocatorBytes = 20;

// An archive's list of entries is read whole. Without ZIP64 it has 65,535 at most; with it, as many
// as a number of 64 bits says.
absl::Status RefuseZip64(const std::string& path, const RegularFile& file) {
  const uint64_t tail = std::min(kEndBytesMax, file.bytes());
  std::string end(static_cast<size_t>(tail), '\0');
  const ssize_t n =
      pread(file.descriptor(), end.data(), end.size(), static_cast<off_t>(file.bytes() - tail));
  if (n != static_cast<ssize_t>(tail)) {
    return absl::UnavailableError(absl::StrCat("can not read ", path));
  }
  constexpr absl::string_view kLocator = "PK\x06\x07";
  constexpr absl::string_view kEnd = "PK\x05\x06";
  for (size_t at = end.find(std::string(kLocator)); at != std::string::npos;
       at = end.find(std::string(kLocator), at + 1)) {
    if (absl::string_view(end).substr(std::min(at + kLocatorBytes, end.size()), 4) != kEnd)
      continue;
    return absl::ResourceExhaustedError(absl::StrCat(
        path, " is a ZIP64 archive, which only more than 4 GiB or 65,535 arrays need"));
  }
  return absl::OkStatus();
}

using Source = std::unique_ptr<zip_source_t, void (*)(zip_source_t*)>;

absl::StatusOr<Source> SourceOf(const std::string& path, RegularFile file, zip_error_t& error) {
  std::FILE* stream = fdopen(file.descriptor(), "rb");
  if (stream == nullptr) return SystemError("can not read", path);
  file.Release();
  Source source(zip_source_filep_create(stream, 0, -1, &error), zip_source_free);
  if (source != nullptr) return source;  // Closes the stream.
  std::fclose(stream);
  return absl::UnavailableError(
      absl::StrCat("can not read ", path, ": ", zip_error_strerror(&error)));
}

using Entry = std::unique_ptr<zip_file_t, int (*)(zip_file_t*)>;

}  // namespace

struct NpzFile::Archive {
  explicit Archive(zip_t* opened) : zip(opened) {}
  ~Archive() { zip_discard(zip); }
  Archive(const Archive&) = delete;
  Archive& operator=(const Archive&) = delete;

  zip_t* const zip;
};

NpzFile::NpzFile(std::string path, std::unique_ptr<Archive> archive)
    : path_(std::move(path)), archive_(std::move(archive)) {}
NpzFile::NpzFile(NpzFile&&) noexcept = default;
NpzFile::~NpzFile() = default;

absl::StatusOr<NpzFile> NpzFile::Open(const std::string& path) {
  CONSILIUM_ASSIGN_OR_RETURN(RegularFile file, OpenArrayFile(path));
  CONSILIUM_RETURN_IF_ERROR(RefuseZip64(path, file));
  zip_error_t error;
  zip_error_init(&error);
  const absl::Cleanup release = [&error] { zip_error_fini(&error); };
  CONSILIUM_ASSIGN_OR_RETURN(Source source, SourceOf(path, std::move(file), error));
  zip_t* zip = zip_open_from_source(source.get(), ZIP_RDONLY, &error);
  if (zip == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is no NPZ file: ", zip_error_strerror(&error)));
  }
  static_cast<void>(source.release());  // It is the archive's now.
  auto archive = std::make_unique<Archive>(zip);
  const zip_int64_t entries = zip_get_num_entries(zip, 0);
  if (entries < 0 || static_cast<uint64_t>(entries) > limits::kArchiveArraysMax) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%s has more than %d arrays", path, limits::kArchiveArraysMax));
  }
  return NpzFile(path, std::move(archive));
}

namespace {

// The names of some arrays, for who asked for one that is not there: '"image", "who" and 3 more'.
std::string SomeNames(zip_t* zip) {
  constexpr size_t kNamesShownMax = 8;
  std::vector<std::string> names;
  size_t arrays = 0;
  for (zip_int64_t i = 0; i < zip_get_num_entries(zip, 0); ++i) {
    const char* entry = zip_get_name(zip, static_cast<zip_uint64_t>(i), ZIP_FL_ENC_RAW);
    absl::string_view name = entry == nullptr ? "" : entry;
    if (!absl::ConsumeSuffix(&name, ".npy") || ++arrays > kNamesShownMax) continue;
    names.push_back(absl::StrCat("\"", PrintableText(name, {.bytes_max = 64}), "\""));
  }
  if (arrays == 0) return "no arrays";
  std::string said = absl::StrJoin(names, ", ");
  if (arrays > names.size()) absl::StrAppend(&said, " and ", arrays - names.size(), " more");
  return said;
}

// The index of the one entry of this name.
absl::StatusOr<zip_uint64_t> Locate(zip_t* zip, const std::string& name) {
  const std::string sought = absl::StrCat(name, ".npy");
  std::vector<zip_uint64_t> found;
  for (zip_int64_t i = 0; i < zip_get_num_entries(zip, 0); ++i) {
    const auto index = static_cast<zip_uint64_t>(i);
    const char* entry = zip_get_name(zip, index, ZIP_FL_ENC_RAW);
    if (entry != nullptr && entry == sought) found.push_back(index);
  }
  if (found.empty()) {
    return absl::NotFoundError(absl::StrCat("is not there; the file has ", SomeNames(zip)));
  }
  if (found.size() > 1) return absl::InvalidArgumentError("is there twice");
  return found[0];
}

// The size of the entry unpacked, believable and within the limits.
absl::StatusOr<uint64_t> CheckedSize(zip_t* zip, zip_uint64_t index) {
  zip_stat_t stat;
  constexpr zip_uint64_t kNeeded =
      ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
  if (zip_stat_index(zip, index, 0, &stat) != 0 || (stat.valid & kNeeded) != kNeeded) {
    return absl::InvalidArgumentError("is damaged: its size is not told");
  }
  if (stat.encryption_method != ZIP_EM_NONE) return absl::InvalidArgumentError("is encrypted");
  if (stat.comp_method != ZIP_CM_STORE && stat.comp_method != ZIP_CM_DEFLATE) {
    return absl::InvalidArgumentError(
        "is packed in a way that NumPy does not use (neither stored nor deflated)");
  }
  if (stat.size > limits::kArrayBytesMax + limits::kNpyHeaderBytesMax) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("has more than %d bytes", limits::kArrayBytesMax));
  }
  if (!CanUnpackTo(stat.comp_size, stat.size)) {
    return absl::InvalidArgumentError("claims more bytes than its packed ones can hold");
  }
  return stat.size;
}

absl::Status Damaged(zip_file_t* entry) {
  const std::string why = zip_file_strerror(entry);
  return absl::InvalidArgumentError(absl::StrCat("is damaged: ", why));
}

struct NpyHeader {
  ArrayFormat format;
  uint64_t bytes = 0;  // Before the items.
};

absl::StatusOr<NpyHeader> ReadHeader(zip_file_t* entry) {
  const auto read = [entry](uint8_t* to, size_t n) { return zip_fread(entry, to, n); };
  std::vector<uint8_t> bytes;
  if (!ReadExactly(kNpyPrefixBytes, read, bytes) ||
      absl::string_view(reinterpret_cast<char*>(bytes.data()), kNpyMagic.size()) != kNpyMagic) {
    return absl::InvalidArgumentError("is no NPY file");
  }
  const int version = bytes[6];
  if (version < 1 || version > 3 || bytes[7] != 0) {
    return absl::InvalidArgumentError("is of a version of NPY that is not known");
  }
  const size_t length_bytes = version == 1 ? 2 : 4;
  if (!ReadExactly(length_bytes, read, bytes)) return Damaged(entry);
  uint64_t length = 0;
  for (size_t b = 0; b < length_bytes; ++b) length |= uint64_t{bytes[b]} << 8 * b;
  if (length > limits::kNpyHeaderBytesMax) {
    return absl::ResourceExhaustedError("has an NPY header that is longer than any real one");
  }
  if (!ReadExactly(static_cast<size_t>(length), read, bytes)) return Damaged(entry);
  NpyHeader header;
  header.bytes = kNpyPrefixBytes + length_bytes + length;
  CONSILIUM_ASSIGN_OR_RETURN(
      header.format,
      ParseNpyHeader(absl::string_view(reinterpret_cast<char*>(bytes.data()), bytes.size())));
  return header;
}

// An entry of which the header is read, and the items are not.
struct OpenedEntry {
  Entry entry;
  ArrayFormat format;
  uint64_t item_bytes = 0;
};

absl::StatusOr<OpenedEntry> OpenEntry(zip_t* zip, const std::string& name) {
  CONSILIUM_ASSIGN_OR_RETURN(const zip_uint64_t index, Locate(zip, name));
  CONSILIUM_ASSIGN_OR_RETURN(const uint64_t entry_bytes, CheckedSize(zip, index));
  Entry entry(zip_fopen_index(zip, index, 0), zip_fclose);
  if (entry == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("can not be unpacked: ", zip_strerror(zip)));
  }
  CONSILIUM_ASSIGN_OR_RETURN(NpyHeader header, ReadHeader(entry.get()));
  CONSILIUM_ASSIGN_OR_RETURN(const uint64_t item_bytes, BytesOf(header.format));
  if (header.bytes + item_bytes != entry_bytes) {
    return absl::InvalidArgumentError("does not have the bytes that its shape says");
  }
  return OpenedEntry{std::move(entry), std::move(header.format), item_bytes};
}

absl::StatusOr<Array> ReadEntry(zip_t* zip, const std::string& name, const ArrayFormat& format) {
  CONSILIUM_ASSIGN_OR_RETURN(OpenedEntry opened, OpenEntry(zip, name));
  if (opened.format != format) return absl::InvalidArgumentError(kChangedMeanwhile);
  zip_file_t* const entry = opened.entry.get();
  const auto read = [entry](uint8_t* to, size_t n) { return zip_fread(entry, to, n); };
  std::vector<uint8_t> bytes;
  if (!ReadExactly(static_cast<size_t>(opened.item_bytes), read, bytes)) return Damaged(entry);
  uint8_t beyond = 0;
  // At the end libzip compares the checksum.
  if (zip_fread(entry, &beyond, 1) != 0) return Damaged(entry);
  return Array(std::move(opened.format), std::move(bytes));
}

absl::Status OfArray(const std::string& path, const std::string& name, const absl::Status& status) {
  return absl::Status(status.code(),
                      absl::StrCat(path, ": array \"", name, "\" ", status.message()));
}

}  // namespace

absl::StatusOr<ArrayFormat> NpzFile::Format(const std::string& name) const {
  absl::StatusOr<OpenedEntry> opened = OpenEntry(archive_->zip, name);
  if (!opened.ok()) return OfArray(path_, name, opened.status());
  return std::move(opened->format);
}

absl::StatusOr<Array> NpzFile::Read(const std::string& name, const ArrayFormat& format) const {
  absl::StatusOr<Array> array = ReadEntry(archive_->zip, name, format);
  if (!array.ok()) return OfArray(path_, name, array.status());
  return array;
}

}  // namespace consilium
