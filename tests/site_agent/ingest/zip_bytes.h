// ZIP archives byte by byte, so that a test can let one say what no honest writer does.

#ifndef CONSILIUM_TESTS_SITE_AGENT_INGEST_ZIP_BYTES_H_
#define CONSILIUM_TESTS_SITE_AGENT_INGEST_ZIP_BYTES_H_

#include <zlib.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace consilium {

inline std::string LittleEndian(uint64_t value, size_t bytes) {
  std::string out;
  for (size_t b = 0; b < bytes; ++b) {
    out.push_back(b < sizeof(value) ? static_cast<char>(value >> 8 * b) : '\0');
  }
  return out;
}

struct ZipEntry {
  std::string name = "";
  std::string packed = "";  // Stored, unless `method` says otherwise.
  uint32_t method = 0;
  uint32_t flags = 0;                                     // 1: encrypted.
  std::optional<uint32_t> unpacked_bytes = std::nullopt;  // Default: as many as packed.
  std::optional<uint32_t> crc = std::nullopt;             // Default: of the packed ones.
};

// Without ZIP64 unless `locator`: an end record and locator of ZIP64 that count 2^32 entries.
enum class Zip64 { kNone, kLocator };

inline std::string ZipBytes(const std::vector<ZipEntry>& entries, Zip64 zip64 = Zip64::kNone) {
  std::string file;
  std::string directory;
  for (const ZipEntry& entry : entries) {
    const uint32_t crc = entry.crc.value_or(
        static_cast<uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(entry.packed.data()),
                                    static_cast<uInt>(entry.packed.size()))));
    const std::string common = absl::StrCat(
        LittleEndian(20, 2), LittleEndian(entry.flags, 2), LittleEndian(entry.method, 2),
        LittleEndian(0, 4), LittleEndian(crc, 4), LittleEndian(entry.packed.size(), 4),
        LittleEndian(entry.unpacked_bytes.value_or(static_cast<uint32_t>(entry.packed.size())), 4),
        LittleEndian(entry.name.size(), 2), LittleEndian(0, 2));
    absl::StrAppend(&directory, "PK\x01\x02", LittleEndian(20, 2), common, LittleEndian(0, 10),
                    LittleEndian(file.size(), 4), entry.name);
    absl::StrAppend(&file, "PK\x03\x04", common, entry.name, entry.packed);
  }
  const size_t begin = file.size();
  file += directory;
  if (zip64 == Zip64::kLocator) {
    const uint64_t count = uint64_t{1} << 32;
    const size_t end = file.size();
    absl::StrAppend(&file, "PK\x06\x06", LittleEndian(44, 8), LittleEndian(45, 4),
                    LittleEndian(0, 8), LittleEndian(count, 8), LittleEndian(count, 8),
                    LittleEndian(directory.size(), 8), LittleEndian(begin, 8));
    absl::StrAppend(&file, "PK\x06\x07", LittleEndian(0, 4), LittleEndian(end, 8),
                    LittleEndian(1, 4));
  }
  const uint64_t count = zip64 == Zip64::kLocator ? 0xffff : entries.size();
  absl::StrAppend(&file, "PK\x05\x06", LittleEndian(0, 4), LittleEndian(count, 2),
                  LittleEndian(count, 2), LittleEndian(directory.size(), 4), LittleEndian(begin, 4),
                  LittleEndian(0, 2));
  return file;
}

// An NPY file of version 1.
inline std::string NpyBytes(const std::string& dictionary, const std::string& items) {
  return absl::StrCat("\x93NUMPY", std::string("\x01\x00", 2), LittleEndian(dictionary.size(), 2),
                      dictionary, items);
}

}  // namespace consilium

#endif  // CONSILIUM_TESTS_SITE_AGENT_INGEST_ZIP_BYTES_H_
