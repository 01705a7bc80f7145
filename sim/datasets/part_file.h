// A file that is being fetched: FILE.part, which a later process goes on with, and which becomes
// FILE when it is whole and has the SHA-256 that it must have.
//
// Ownership: holds the file open, and locked against other processes. Threads: one.

#ifndef CONSILIUM_SIM_DATASETS_PART_FILE_H_
#define CONSILIUM_SIM_DATASETS_PART_FILE_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace consilium {

class PartFile {
 public:
  // Keeps what an earlier process has left. Folders of `path` are made. FAILED_PRECONDITION where
  // another process holds it, or what lies there is no regular file; errors of the system.
  static absl::StatusOr<PartFile> Open(const std::string& path);
  PartFile(PartFile&& other) noexcept;
  PartFile& operator=(PartFile&&) = delete;
  // Nothing stays of a part without a byte.
  ~PartFile();

  uint64_t bytes() const { return bytes_; }
  // At its end. RESOURCE_EXHAUSTED for a full disk; errors of the system.
  absl::Status Append(absl::string_view piece);
  // Begins again.
  absl::Status Clear();
  // Durable, under `path`. DATA_LOSS where its SHA-256 is not `sha256`; it is cleared then, since
  // nothing tells which byte is wrong.
  absl::Status Finish(const std::string& sha256);

 private:
  PartFile(std::string path, int fd, uint64_t bytes)
      : path_(std::move(path)), fd_(fd), bytes_(bytes) {}
  std::string part() const { return path_ + ".part"; }

  std::string path_;
  int fd_;
  uint64_t bytes_;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_DATASETS_PART_FILE_H_
