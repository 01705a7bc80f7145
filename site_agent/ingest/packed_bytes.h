// What reading a packed file has in common, whatever packed it: nothing is believed that the packed
// bytes could not hold, and memory grows with what has come.
//
// Threads: any.

#ifndef CONSILIUM_SITE_AGENT_INGEST_PACKED_BYTES_H_
#define CONSILIUM_SITE_AGENT_INGEST_PACKED_BYTES_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "protocol/core/regular_file.h"

namespace consilium {

// No stream of deflate unpacks to more (zlib's technical details: 1032 : 1).
inline constexpr uint64_t kDeflateRatioMax = 1032;

// Whether `packed` bytes can unpack to `unpacked`.
inline bool CanUnpackTo(uint64_t packed, uint64_t unpacked) {
  return unpacked / kDeflateRatioMax <= packed;
}

// Of a file whose header said something else when it was looked at.
inline constexpr char kChangedMeanwhile[] = "has changed since its header was read";

// A file of at most limits::kArrayFileBytesMax bytes; RESOURCE_EXHAUSTED where it is larger.
// Otherwise as RegularFile::Open.
absl::StatusOr<RegularFile> OpenArrayFile(const std::string& path);

// Told of items as they are unpacked: how many bytes more, at most 1 MiB at a time. An error ends
// the reading with it. Null: nobody listens.
using TellUnpacked = std::function<absl::Status(uint64_t bytes)>;

// Tells, and keeps the error that ended it.
class Unpacking {
 public:
  explicit Unpacking(const TellUnpacked& tell) : tell_(tell) {}

  // What a reader gives that has read `n` bytes, for ReadExactly: below 0 once it is to end.
  int64_t Told(int64_t n) {
    if (n > 0 && tell_ != nullptr) ended_ = tell_(static_cast<uint64_t>(n));
    return ended_.ok() ? n : -1;
  }
  const absl::Status& ended() const { return ended_; }

 private:
  const TellUnpacked& tell_;
  absl::Status ended_;
};

// `size` bytes from `read`, a callable (uint8_t* to, size_t n) -> int64_t that gives how many it
// read, 0 at the end, or below 0 where it can not. False where there are fewer.
template <typename Read>
bool ReadExactly(size_t size, Read&& read, std::vector<uint8_t>& bytes) {
  constexpr size_t kPieceBytes = 1 << 20;
  bytes.clear();
  while (bytes.size() < size) {
    const size_t before = bytes.size();
    const size_t piece = std::min(kPieceBytes, size - before);
    bytes.resize(before + piece);
    const int64_t n = read(bytes.data() + before, piece);
    if (n <= 0) return false;
    bytes.resize(before + static_cast<size_t>(n));
  }
  return true;
}

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_INGEST_PACKED_BYTES_H_
