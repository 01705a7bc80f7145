// A file of frames that grows at its end, in which every damaged byte is found before anything is
// made of it:
//
//   file  = magic ‖ block*
//   block = length (u64, little endian) ‖ SHA-256 of the frames ‖ frames
//   frame = kind (1) ‖ length (u64, little endian) ‖ bytes
//
// What a crash leaves half written lies beyond the last Sync(), whose length its user keeps.
//
// Ownership: each owns its descriptor. Threads: one object per thread.

#ifndef CONSILIUM_SIM_ENGINE_FRAME_FILE_H_
#define CONSILIUM_SIM_ENGINE_FRAME_FILE_H_

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "protocol/wire/limits.h"

namespace consilium {

// The longest frame that is read where nobody says otherwise: a vector with its id.
inline constexpr uint64_t kFrameBytesMax = limits::kPayloadBytesMax + 32;

struct Frame {
  char kind = 0;
  std::string bytes;
};

class FrameWriter {
 public:
  // A new file, over what may lie there. RESOURCE_EXHAUSTED, PERMISSION_DENIED, UNAVAILABLE: the
  // system's words, here and below.
  static absl::StatusOr<FrameWriter> Create(const std::string& path);
  // Goes on behind the first `bytes` of a file, the rest of which is cut off. `bytes` is what
  // Sync() gave.
  static absl::StatusOr<FrameWriter> GoOn(const std::string& path, uint64_t bytes);

  absl::Status Add(char kind, absl::string_view bytes);
  // All frames so far are durable; how many bytes the file then has.
  absl::StatusOr<uint64_t> Sync();
  // With what is not yet written.
  uint64_t bytes() const { return written_ + block_.size(); }

 private:
  struct Closer {
    void operator()(FILE* file) const { fclose(file); }
  };
  using File = std::unique_ptr<FILE, Closer>;

  FrameWriter(std::string path, File file, uint64_t written);
  absl::Status WriteBlock();
  absl::Status Write(absl::string_view bytes);

  std::string path_;
  File file_;
  uint64_t written_ = 0;
  std::string block_;
};

class FrameReader {
 public:
  // The first `bytes` of a file; all of it where that is not given. NOT_FOUND; DATA_LOSS where it
  // is shorter, or not of this kind. No frame is longer than `frame_bytes_max`.
  static absl::StatusOr<FrameReader> Open(const std::string& path, std::optional<uint64_t> bytes,
                                          uint64_t frame_bytes_max = kFrameBytesMax);

  // Nothing at the end. DATA_LOSS, naming file and place, where the block of the frame is damaged,
  // or longer than frames are: then nothing of it is read.
  absl::StatusOr<std::optional<Frame>> Next();

 private:
  FrameReader(std::string path, std::ifstream file, uint64_t end, uint64_t frame_bytes_max);
  absl::Status ReadBlock();
  absl::Status Damaged() const;

  std::string path_;
  std::ifstream file_;
  uint64_t end_ = 0;
  uint64_t frame_bytes_max_ = 0;
  uint64_t read_ = 0;
  std::string block_;
  size_t place_ = 0;  // In the block.
};

// Reads all of it. As FrameReader::Next.
absl::Status CheckFrames(const std::string& path, uint64_t bytes,
                         uint64_t frame_bytes_max = kFrameBytesMax);

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_FRAME_FILE_H_
