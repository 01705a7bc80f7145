// Arrays out of the files in which the field keeps images and signals: NumPy's NPZ archives and the
// IDX files of the MNIST family. No byte is believed before it is checked: what a header claims is
// held against the limits (protocol/wire/limits.h) and against what the packed bytes could hold
// before memory is taken, and both kinds of packing have a checksum that is verified. A header can
// be had alone, so that what it says is held against what is wanted before an item is unpacked.
// Unpacking tells how far it is, and ends where whoever hears of it says so.
//
// Ownership: values. Threads: any; one call at a time on one NpzFile.

#ifndef CONSILIUM_SITE_AGENT_INGEST_ARRAY_FILES_H_
#define CONSILIUM_SITE_AGENT_INGEST_ARRAY_FILES_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "site_agent/ingest/array.h"
#include "site_agent/ingest/packed_bytes.h"

namespace consilium {

class NpzFile {
 public:
  // NOT_FOUND where there is no file; INVALID_ARGUMENT where it is no ZIP archive;
  // RESOURCE_EXHAUSTED where it has more than limits::kArrayFileBytesMax bytes or
  // limits::kArchiveArraysMax arrays, is of the kind that only such ones are (ZIP64), or its list
  // of them has more than 8 MiB. What is read later is of this file, whatever the path names then.
  static absl::StatusOr<NpzFile> Open(const std::string& path);
  NpzFile(NpzFile&&) noexcept;
  ~NpzFile();

  // What the header of the array of this name says, and the archive does not gainsay; none of its
  // items is unpacked. NOT_FOUND where there is none; INVALID_ARGUMENT where it is there twice, is
  // encrypted, or is none of ParseNpyHeader's; RESOURCE_EXHAUSTED beyond a limit.
  absl::StatusOr<ArrayFormat> Format(const std::string& name) const;

  // The array of this name, as numpy.load gives it. Errors as of Format; INVALID_ARGUMENT also
  // where it is damaged, or its header says another `format` than it did; those of `tell`.
  absl::StatusOr<Array> Read(const std::string& name, const ArrayFormat& format,
                             const TellUnpacked& tell = nullptr) const;

 private:
  struct Archive;
  NpzFile(std::string path, std::unique_ptr<Archive> archive);

  std::string path_;
  std::unique_ptr<Archive> archive_;
};

// An IDX file (a magic number of two zeros, type and rank; then the dimensions; then the items, all
// big-endian), plain or packed by gzip: its header alone, and its items. Errors as of NpzFile.
absl::StatusOr<ArrayFormat> IdxFormat(const std::string& path);
absl::StatusOr<Array> ReadIdxFile(const std::string& path, const ArrayFormat& format,
                                  const TellUnpacked& tell = nullptr);

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_INGEST_ARRAY_FILES_H_
