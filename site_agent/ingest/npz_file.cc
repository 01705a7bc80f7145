#include <unistd.h>
#include <zip.h>

#include <algorithm>
#include <cstdio>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/container/flat_hash_map.h"
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
constexpr absl::string_view kLocatorMagic = "PK\x06\x07";
constexpr absl::string_view kEndMagic = "PK\x05\x06";
// The record of an archive's end, and where in it the bytes of the list of entries are counted.
constexpr size_t kEndRecordBytes = 22;
constexpr size_t kListBytesAt = 12;
// Names of 2 KiB, where there are as many as may be. An archive that stays open keeps its list.
constexpr uint64_t kListBytesMax = uint64_t{8} << 20;

// Where libzip looks for the end of the archive.
absl::StatusOr<std::string> ReadTail(const std::string& path, const RegularFile& file) {
  const uint64_t bytes = std::min(kEndBytesMax, file.bytes());
  std::string tail(static_cast<size_t>(bytes), '\0');
  const ssize_t n =
      pread(file.descriptor(), tail.data(), tail.size(), static_cast<off_t>(file.bytes() - bytes));
  if (n == static_cast<ssize_t>(bytes)) return tail;
  return absl::UnavailableError(absl::StrCat("can not read ", path));
}

// An archive's list of entries is read whole. Without ZIP64 it has 65,535 at most; with it, as many
// as a number of 64 bits says.
absl::Status RefuseZip64(const std::string& path, absl::string_view tail) {
  for (size_t at = tail.find(kLocatorMagic); at != absl::string_view::npos;
       at = tail.find(kLocatorMagic, at + 1)) {
    if (tail.substr(std::min(at + kLocatorBytes, tail.size()), 4) != kEndMagic) continue;
    return absl::ResourceExhaustedError(absl::StrCat(
        path, " is a ZIP64 archive, which only more than 4 GiB or 65,535 arrays need"));
  }
  return absl::OkStatus();
}

uint64_t LittleEndianAt(absl::string_view bytes, size_t at, size_t n) {
  uint64_t value = 0;
  for (size_t b = 0; b < n; ++b) value |= uint64_t{static_cast<uint8_t>(bytes[at + b])} << 8 * b;
  return value;
}

// libzip reads the list of every record that could be the archive's end, and takes the best one:
// all of them together have to be short.
absl::Status RefuseLongLists(const std::string& path, uint64_t file_bytes, absl::string_view tail) {
  uint64_t list_bytes = 0;
  for (size_t at = tail.find(kEndMagic); at != absl::string_view::npos;
       at = tail.find(kEndMagic, at + 1)) {
    if (tail.size() - at < kEndRecordBytes) break;
    const uint64_t claimed = LittleEndianAt(tail, at + kListBytesAt, 4);
    if (claimed > file_bytes - tail.size() + at) continue;  // It would go on behind its record.
    list_bytes += claimed;
  }
  if (list_bytes <= kListBytesMax) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrFormat("%s: the list of its arrays has more than %d bytes", path, kListBytesMax));
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
using Zip = std::unique_ptr<zip_t, void (*)(zip_t*)>;

// Null where an entry has none. The archive's own, as long as it is open.
const char* NameOf(zip_t* zip, zip_uint64_t index) {
  return zip_get_name(zip, index, ZIP_FL_ENC_RAW);
}

zip_uint64_t EntriesOf(zip_t* zip) {
  return static_cast<zip_uint64_t>(std::max<zip_int64_t>(zip_get_num_entries(zip, 0), 0));
}

// The names of some arrays, for who asked for one that is not there: '"image", "who" and 3 more'.
std::string SomeNames(zip_t* zip) {
  constexpr size_t kNamesShownMax = 8;
  std::vector<std::string> names;
  size_t arrays = 0;
  for (zip_uint64_t i = 0; i < EntriesOf(zip); ++i) {
    const char* entry = NameOf(zip, i);
    absl::string_view name = entry == nullptr ? "" : entry;
    if (!absl::ConsumeSuffix(&name, ".npy") || ++arrays > kNamesShownMax) continue;
    names.push_back(absl::StrCat("\"", PrintableText(name, {.bytes_max = 64}), "\""));
  }
  if (arrays == 0) return "no arrays";
  std::string said = absl::StrJoin(names, ", ");
  if (arrays > names.size()) absl::StrAppend(&said, " and ", arrays - names.size(), " more");
  return said;
}

// An archive's entries by their names.
class Entries {
 public:
  // Of an archive that stays open as long.
  explicit Entries(zip_t* zip) : zip_(zip) {
    for (zip_uint64_t i = 0; i < EntriesOf(zip); ++i) {
      const char* name = NameOf(zip, i);
      if (name == nullptr) continue;
      const auto [place, is_new] = places_.try_emplace(name, Place{.index = i});
      if (!is_new) place->second.is_only = false;
    }
  }

  zip_t* zip() const { return zip_; }

  // The index of the one entry of this array's name.
  absl::StatusOr<zip_uint64_t> Locate(const std::string& array) const {
    const auto found = places_.find(absl::StrCat(array, ".npy"));
    if (found == places_.end()) {
      return absl::NotFoundError(absl::StrCat("is not there; the file has ", SomeNames(zip_)));
    }
    if (!found->second.is_only) return absl::InvalidArgumentError("is there twice");
    return found->second.index;
  }

 private:
  struct Place {
    zip_uint64_t index = 0;
    bool is_only = true;
  };
  zip_t* const zip_;
  absl::flat_hash_map<absl::string_view, Place> places_;
};

}  // namespace

struct NpzFile::Archive {
  explicit Archive(Zip opened) : zip(std::move(opened)), entries(zip.get()) {}

  const Zip zip;
  const Entries entries;
};

NpzFile::NpzFile(std::string path, std::unique_ptr<Archive> archive)
    : path_(std::move(path)), archive_(std::move(archive)) {}
NpzFile::NpzFile(NpzFile&&) noexcept = default;
NpzFile::~NpzFile() = default;

absl::StatusOr<NpzFile> NpzFile::Open(const std::string& path) {
  CONSILIUM_ASSIGN_OR_RETURN(RegularFile file, OpenArrayFile(path));
  CONSILIUM_ASSIGN_OR_RETURN(const std::string tail, ReadTail(path, file));
  CONSILIUM_RETURN_IF_ERROR(RefuseZip64(path, tail));
  CONSILIUM_RETURN_IF_ERROR(RefuseLongLists(path, file.bytes(), tail));
  zip_error_t error;
  zip_error_init(&error);
  const absl::Cleanup release = [&error] { zip_error_fini(&error); };
  CONSILIUM_ASSIGN_OR_RETURN(Source source, SourceOf(path, std::move(file), error));
  Zip zip(zip_open_from_source(source.get(), ZIP_RDONLY, &error), zip_discard);
  if (zip == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is no NPZ file: ", zip_error_strerror(&error)));
  }
  static_cast<void>(source.release());  // It is the archive's now.
  if (EntriesOf(zip.get()) > limits::kArchiveArraysMax) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%s has more than %d arrays", path, limits::kArchiveArraysMax));
  }
  return NpzFile(path, std::make_unique<Archive>(std::move(zip)));
}

namespace {

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

absl::StatusOr<OpenedEntry> OpenEntry(const Entries& entries, const std::string& name) {
  CONSILIUM_ASSIGN_OR_RETURN(const zip_uint64_t index, entries.Locate(name));
  zip_t* const zip = entries.zip();
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

absl::StatusOr<Array> ReadEntry(OpenedEntry opened, const ArrayFormat& format,
                                Unpacking& unpacking) {
  if (opened.format != format) return absl::InvalidArgumentError(kChangedMeanwhile);
  zip_file_t* const entry = opened.entry.get();
  const auto read = [entry, &unpacking](uint8_t* to, size_t n) {
    return unpacking.Told(zip_fread(entry, to, n));
  };
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
  absl::StatusOr<OpenedEntry> opened = OpenEntry(archive_->entries, name);
  if (!opened.ok()) return OfArray(path_, name, opened.status());
  return std::move(opened->format);
}

absl::StatusOr<Array> NpzFile::Read(const std::string& name, const ArrayFormat& format,
                                    const TellUnpacked& tell) const {
  absl::StatusOr<OpenedEntry> opened = OpenEntry(archive_->entries, name);
  if (!opened.ok()) return OfArray(path_, name, opened.status());
  Unpacking unpacking(tell);
  absl::StatusOr<Array> array = ReadEntry(*std::move(opened), format, unpacking);
  CONSILIUM_RETURN_IF_ERROR(unpacking.ended());
  if (!array.ok()) return OfArray(path_, name, array.status());
  return array;
}

}  // namespace consilium
