// Large files, sealed: written and read in records of 1 MiB, each under AES-256-GCM, so that a
// model of any size passes through the memory of one record.
//
//   header   "CNSBLOB1" ‖ salt(32) ‖ bytes of the whole text (8, little-endian) ‖ seal(32)
//   records  ciphertext(1 MiB; the last one what is left) ‖ tag(16), one after the other
//
// Every file has a key of its own, HKDF(blob key, salt, "consilium.blob.file.v1"), so the nonce is
// the record's number and never comes twice. The seal is HKDF(blob key, salt,
// "consilium.blob.seal.v1" ‖ bytes ‖ name): it binds name and length to the salt, thus to the
// file's key. So a file under another's name, a record moved within a file or between two, and a
// file cut at any byte are all noticed. Both come last because the name of a blob is its hash,
// which is known when all of it is: until then the header is zeros and no reader takes the file.
//
// Writing has three steps, so that a crash can be tried between any two of them: Seal() hands the
// last byte to the system, Sync() makes it durable under its temporary name, Commit() gives it its
// own. A file that was never committed is removed when its writer dies, or when its BlobStore
// opens.
//
// Ownership: a reader or writer owns its file descriptor. Threads: externally synchronised each;
// several readers of one blob are fine.

#ifndef CONSILIUM_PRIVACY_AT_REST_SEALED_BLOB_H_
#define CONSILIUM_PRIVACY_AT_REST_SEALED_BLOB_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "privacy/at_rest/aead.h"
#include "protocol/core/secret_bytes.h"

namespace consilium {

inline constexpr size_t kBlobRecordBytes = size_t{1} << 20;
// 1 TiB: far above any model, far below where nonces or offsets end.
inline constexpr uint64_t kBlobBytesMax = uint64_t{1} << 40;

// An open file, closed on destruction.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  ~FileDescriptor();
  int get() const { return fd_; }
  // Closes now. False where the system reports that written bytes were lost.
  bool Close();

 private:
  int fd_;
};

class SealedBlobWriter {
 public:
  // Makes `temporary_path` (0600), which must not exist. ALREADY_EXISTS; the disk's errors: a full
  // disk is RESOURCE_EXHAUSTED, here and in each call below.
  static absl::StatusOr<SealedBlobWriter> Create(const SecretBytes& blob_key,
                                                 std::string temporary_path);
  SealedBlobWriter(SealedBlobWriter&& other) noexcept;
  SealedBlobWriter& operator=(SealedBlobWriter&&) = delete;
  // Removes the file unless it was committed.
  ~SealedBlobWriter();

  // Adds bytes; they are sealed straight from `bytes`, and a record is written when it is full.
  // RESOURCE_EXHAUSTED over 1 TiB. FAILED_PRECONDITION after Seal() or an error.
  absl::Status Append(std::span<const uint8_t> bytes);

  // Writes what is left and the header: the blob's name is `name` from here on.
  absl::Status Seal(absl::string_view name);

  // fsync of the file. FAILED_PRECONDITION before Seal().
  absl::Status Sync();

  // Renames the file to `path` on the same file system, over what is there, and syncs its folder.
  // FAILED_PRECONDITION before Sync().
  absl::Status Commit(const std::string& path);

  // Bytes appended so far.
  uint64_t size() const { return bytes_; }
  // As given to Seal().
  const std::string& name() const { return name_; }

 private:
  enum class Stage { kWriting, kSealed, kSynced, kCommitted, kFailed };
  using Salt = std::array<uint8_t, kKeyBytes>;
  SealedBlobWriter(SecretBytes blob_key, const Salt& salt, Aead aead, std::string path,
                   FileDescriptor file);
  absl::Status ExpectStage(Stage stage) const;
  absl::Status BeginRecord();
  absl::Status EndRecord();
  absl::Status AppendAll(std::span<const uint8_t> bytes);
  // Remembers a failure, after which nothing of the file is trusted.
  absl::Status Noted(absl::Status status);

  SecretBytes blob_key_;
  Salt salt_;
  Aead aead_;
  std::string path_;
  FileDescriptor file_;
  std::string name_;
  Stage stage_ = Stage::kWriting;
  uint64_t bytes_ = 0;
  uint64_t records_ = 0;
  // The record that is being filled: ciphertext so far, with room for its tag.
  std::vector<uint8_t> record_;
  size_t filled_ = 0;
};

class SealedBlobReader {
 public:
  // Opens the blob and checks that it is whole, has this key and this name. NOT_FOUND; DATA_LOSS
  // where it is not, before any of it is read; the disk's errors.
  static absl::StatusOr<SealedBlobReader> Open(const SecretBytes& blob_key, absl::string_view name,
                                               const std::string& path);
  SealedBlobReader(SealedBlobReader&&) = default;
  SealedBlobReader& operator=(SealedBlobReader&&) = delete;

  // Bytes of the text, and of its records: ceil(size / 1 MiB).
  uint64_t size() const { return bytes_; }
  uint64_t records() const { return (bytes_ + kBlobRecordBytes - 1) / kBlobRecordBytes; }

  // The next record, or nothing after the last; lives until the next call. DATA_LOSS where it does
  // not authenticate, UNAVAILABLE for the disk.
  absl::StatusOr<std::optional<std::span<const uint8_t>>> Next();

  // Record `index` < records(), in any order; Next() goes on after it. OUT_OF_RANGE.
  absl::StatusOr<std::span<const uint8_t>> ReadRecord(uint64_t index);

  // The same into memory of the caller, of the record's size (INVALID_ARGUMENT). After an error its
  // content means nothing.
  absl::Status ReadRecordInto(uint64_t index, std::span<uint8_t> out);

  // The whole text. RESOURCE_EXHAUSTED where it has more than `bytes_max`; nothing is read then.
  absl::StatusOr<std::vector<uint8_t>> ReadAll(uint64_t bytes_max);

 private:
  SealedBlobReader(Aead aead, std::string path, FileDescriptor file, uint64_t bytes);
  size_t RecordBytes(uint64_t index) const;

  Aead aead_;
  std::string path_;
  FileDescriptor file_;
  uint64_t bytes_;
  uint64_t next_ = 0;
  std::vector<uint8_t> record_;
};

}  // namespace consilium

#endif  // CONSILIUM_PRIVACY_AT_REST_SEALED_BLOB_H_
