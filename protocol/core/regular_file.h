// A regular file that is opened once: what is asked of it, and all that is read, is of this one,
// whatever its path names meanwhile.
//
// Ownership: owns its descriptor until Release. Threads: as any value.

#ifndef CONSILIUM_PROTOCOL_CORE_REGULAR_FILE_H_
#define CONSILIUM_PROTOCOL_CORE_REGULAR_FILE_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace consilium {

class RegularFile {
 public:
  // To be read. Waits for nobody: a pipe is no regular file. INVALID_ARGUMENT for what is none;
  // otherwise as SystemError.
  static absl::StatusOr<RegularFile> Open(const std::string& path);
  RegularFile(RegularFile&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)), bytes_(other.bytes_) {}
  RegularFile& operator=(RegularFile&&) = delete;
  ~RegularFile();

  int descriptor() const { return descriptor_; }
  uint64_t bytes() const { return bytes_; }  // When it was opened.
  // Whoever takes the descriptor closes it.
  int Release() { return std::exchange(descriptor_, -1); }

 private:
  RegularFile(int descriptor, uint64_t bytes) : descriptor_(descriptor), bytes_(bytes) {}

  int descriptor_;
  uint64_t bytes_;
};

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_CORE_REGULAR_FILE_H_
