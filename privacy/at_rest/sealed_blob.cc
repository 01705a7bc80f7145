#include "privacy/at_rest/sealed_blob.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

constexpr char kMagic[] = "CNSBLOB1";
constexpr size_t kMagicBytes = sizeof(kMagic) - 1;
constexpr size_t kSaltBytes = kKeyBytes;
constexpr size_t kHeaderBytes = kMagicBytes + kSaltBytes + sizeof(uint64_t) + kKeyBytes;
constexpr size_t kSealedRecordBytes = kBlobRecordBytes + kTagBytes;

using Header = std::array<uint8_t, kHeaderBytes>;

std::array<uint8_t, 8> LittleEndian(uint64_t number) {
  std::array<uint8_t, 8> bytes;
  for (uint8_t& byte : bytes) {
    byte = static_cast<uint8_t>(number);
    number >>= 8;
  }
  return bytes;
}

uint64_t FromLittleEndian(std::span<const uint8_t> bytes) {
  uint64_t number = 0;
  for (size_t i = bytes.size(); i-- > 0;) number = number << 8 | bytes[i];
  return number;
}

Nonce RecordNonce(uint64_t index) {
  Nonce nonce{};
  const auto bytes = LittleEndian(index);
  std::copy(bytes.begin(), bytes.end(), nonce.begin());
  return nonce;
}

absl::StatusOr<Aead> FileAead(const SecretBytes& blob_key, std::span<const uint8_t> salt) {
  CONSILIUM_ASSIGN_OR_RETURN(const SecretBytes key,
                             DeriveKey(blob_key, {.salt = salt, .info = "consilium.blob.file.v1"}));
  return Aead::Create(key);
}

absl::StatusOr<Header> MakeHeader(const SecretBytes& blob_key, std::span<const uint8_t> salt,
                                  uint64_t bytes, absl::string_view name) {
  const auto length = LittleEndian(bytes);
  const std::string info = absl::StrCat(
      "consilium.blob.seal.v1",
      absl::string_view(reinterpret_cast<const char*>(length.data()), length.size()), name);
  CONSILIUM_ASSIGN_OR_RETURN(const SecretBytes seal,
                             DeriveKey(blob_key, {.salt = salt, .info = info}));
  Header header;
  uint8_t* out = std::copy_n(kMagic, kMagicBytes, header.data());
  out = std::copy(salt.begin(), salt.end(), out);
  out = std::copy(length.begin(), length.end(), out);
  std::copy_n(seal.data(), seal.size(), out);
  return header;
}

// The size of the file that holds `bytes` of text.
uint64_t FileBytes(uint64_t bytes) {
  const uint64_t records = (bytes + kBlobRecordBytes - 1) / kBlobRecordBytes;
  return kHeaderBytes + bytes + records * kTagBytes;
}

absl::Status WriteAt(int fd, std::span<const uint8_t> bytes, uint64_t offset,
                     const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SystemError("can not write", path);
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

absl::Status ReadAt(int fd, std::span<uint8_t> bytes, uint64_t offset, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SystemError("can not read", path);
    if (n == 0) return absl::DataLossError(absl::StrCat("the blob ", path, " was cut off"));
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

}  // namespace

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  if (this != &other) {
    Close();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

FileDescriptor::~FileDescriptor() { Close(); }

bool FileDescriptor::Close() {
  const int fd = std::exchange(fd_, -1);
  return fd < 0 || close(fd) == 0;
}

absl::StatusOr<SealedBlobWriter> SealedBlobWriter::Create(const SecretBytes& blob_key,
                                                          std::string temporary_path) {
  Salt salt;
  CONSILIUM_RETURN_IF_ERROR(RandomFill(salt));
  CONSILIUM_ASSIGN_OR_RETURN(Aead aead, FileAead(blob_key, salt));
  FileDescriptor file(
      open(temporary_path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file.get() < 0) {
    if (errno == EEXIST) return absl::AlreadyExistsError(absl::StrCat(temporary_path, " exists"));
    return SystemError("can not create", temporary_path);
  }
  return SealedBlobWriter(blob_key.Clone(), salt, std::move(aead), std::move(temporary_path),
                          std::move(file));
}

SealedBlobWriter::SealedBlobWriter(SecretBytes blob_key, const Salt& salt, Aead aead,
                                   std::string path, FileDescriptor file)
    : blob_key_(std::move(blob_key)),
      salt_(salt),
      aead_(std::move(aead)),
      path_(std::move(path)),
      file_(std::move(file)) {}

SealedBlobWriter::SealedBlobWriter(SealedBlobWriter&& other) noexcept
    : blob_key_(std::move(other.blob_key_)),
      salt_(other.salt_),
      aead_(std::move(other.aead_)),
      path_(std::exchange(other.path_, {})),
      file_(std::move(other.file_)),
      name_(std::move(other.name_)),
      stage_(std::exchange(other.stage_, Stage::kFailed)),
      bytes_(other.bytes_),
      records_(other.records_),
      record_(std::move(other.record_)),
      filled_(other.filled_) {}

SealedBlobWriter::~SealedBlobWriter() {
  if (!path_.empty() && stage_ != Stage::kCommitted) unlink(path_.c_str());
}

absl::Status SealedBlobWriter::ExpectStage(Stage stage) const {
  if (stage_ == stage) return absl::OkStatus();
  if (stage_ == Stage::kFailed) {
    return absl::FailedPreconditionError(absl::StrCat("writing ", path_, " failed before"));
  }
  return absl::FailedPreconditionError(
      "a blob is appended to, sealed, synced, committed: in this order");
}

absl::Status SealedBlobWriter::Noted(absl::Status status) {
  if (!status.ok()) stage_ = Stage::kFailed;
  return status;
}

absl::Status SealedBlobWriter::BeginRecord() {
  record_.resize(kSealedRecordBytes);
  filled_ = 0;
  return aead_.BeginSeal(RecordNonce(records_));
}

absl::Status SealedBlobWriter::EndRecord() {
  CONSILIUM_ASSIGN_OR_RETURN(const Tag tag, aead_.FinishSeal());
  std::copy(tag.begin(), tag.end(), record_.begin() + static_cast<ptrdiff_t>(filled_));
  CONSILIUM_RETURN_IF_ERROR(WriteAt(file_.get(), {record_.data(), filled_ + kTagBytes},
                                    kHeaderBytes + records_ * kSealedRecordBytes, path_));
  ++records_;
  filled_ = 0;
  return absl::OkStatus();
}

absl::Status SealedBlobWriter::AppendAll(std::span<const uint8_t> bytes) {
  if (bytes.size() > kBlobBytesMax - bytes_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a blob has at most ", kBlobBytesMax, " bytes"));
  }
  while (!bytes.empty()) {
    if (filled_ == 0) CONSILIUM_RETURN_IF_ERROR(BeginRecord());
    const size_t n = std::min(bytes.size(), kBlobRecordBytes - filled_);
    CONSILIUM_RETURN_IF_ERROR(aead_.UpdateSeal(bytes.first(n), record_.data() + filled_));
    filled_ += n;
    bytes_ += n;
    bytes = bytes.subspan(n);
    if (filled_ == kBlobRecordBytes) CONSILIUM_RETURN_IF_ERROR(EndRecord());
  }
  return absl::OkStatus();
}

absl::Status SealedBlobWriter::Append(std::span<const uint8_t> bytes) {
  CONSILIUM_RETURN_IF_ERROR(ExpectStage(Stage::kWriting));
  return Noted(AppendAll(bytes));
}

absl::Status SealedBlobWriter::Seal(absl::string_view name) {
  CONSILIUM_RETURN_IF_ERROR(ExpectStage(Stage::kWriting));
  if (filled_ > 0) CONSILIUM_RETURN_IF_ERROR(Noted(EndRecord()));
  const absl::StatusOr<Header> header = MakeHeader(blob_key_, salt_, bytes_, name);
  CONSILIUM_RETURN_IF_ERROR(Noted(header.status()));
  CONSILIUM_RETURN_IF_ERROR(Noted(WriteAt(file_.get(), *header, 0, path_)));
  record_ = {};
  name_ = std::string(name);
  stage_ = Stage::kSealed;
  return absl::OkStatus();
}

absl::Status SealedBlobWriter::Sync() {
  CONSILIUM_RETURN_IF_ERROR(ExpectStage(Stage::kSealed));
  // After a failed fsync the kernel may have dropped the pages, so a second try proves nothing.
  if (fsync(file_.get()) != 0) return Noted(SystemError("can not sync", path_));
  if (!file_.Close()) return Noted(SystemError("can not close", path_));
  stage_ = Stage::kSynced;
  return absl::OkStatus();
}

absl::Status SealedBlobWriter::Commit(const std::string& path) {
  CONSILIUM_RETURN_IF_ERROR(ExpectStage(Stage::kSynced));
  if (rename(path_.c_str(), path.c_str()) != 0)
    return Noted(SystemError("can not rename to", path));
  stage_ = Stage::kCommitted;
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return SyncFolder(folder.empty() ? "." : folder);
}

SealedBlobReader::SealedBlobReader(Aead aead, std::string path, FileDescriptor file, uint64_t bytes)
    : aead_(std::move(aead)), path_(std::move(path)), file_(std::move(file)), bytes_(bytes) {}

absl::StatusOr<SealedBlobReader> SealedBlobReader::Open(const SecretBytes& blob_key,
                                                        absl::string_view name,
                                                        const std::string& path) {
  FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (file.get() < 0) return SystemError("can not open the blob", path);
  struct stat info;
  if (fstat(file.get(), &info) != 0) return SystemError("can not look at", path);
  Header header;
  if (!S_ISREG(info.st_mode) || info.st_size < static_cast<off_t>(kHeaderBytes)) {
    return absl::DataLossError(absl::StrCat("the blob ", path, " was cut off"));
  }
  CONSILIUM_RETURN_IF_ERROR(ReadAt(file.get(), header, 0, path));
  const auto fields = std::span<const uint8_t>(header);
  const auto salt = fields.subspan(kMagicBytes, kSaltBytes);
  const uint64_t bytes = FromLittleEndian(fields.subspan(kMagicBytes + kSaltBytes, 8));
  CONSILIUM_ASSIGN_OR_RETURN(const Header expected, MakeHeader(blob_key, salt, bytes, name));
  if (CRYPTO_memcmp(header.data(), expected.data(), header.size()) != 0) {
    return absl::DataLossError(absl::StrCat(
        "the blob ", path, " is damaged, unfinished, of another store or under another's name"));
  }
  if (bytes > kBlobBytesMax || FileBytes(bytes) != static_cast<uint64_t>(info.st_size)) {
    return absl::DataLossError(absl::StrCat("the blob ", path, " has ", info.st_size,
                                            " bytes instead of ", FileBytes(bytes)));
  }
  CONSILIUM_ASSIGN_OR_RETURN(Aead aead, FileAead(blob_key, salt));
  return SealedBlobReader(std::move(aead), path, std::move(file), bytes);
}

absl::StatusOr<std::optional<std::span<const uint8_t>>> SealedBlobReader::Next() {
  if (next_ >= records()) return std::nullopt;
  CONSILIUM_ASSIGN_OR_RETURN(const std::span<const uint8_t> record, ReadRecord(next_));
  return record;
}

size_t SealedBlobReader::RecordBytes(uint64_t index) const {
  return static_cast<size_t>(
      std::min<uint64_t>(kBlobRecordBytes, bytes_ - index * kBlobRecordBytes));
}

absl::Status SealedBlobReader::ReadRecordInto(uint64_t index, std::span<uint8_t> out) {
  if (index >= records()) {
    return absl::OutOfRangeError(absl::StrCat("record ", index, " of ", records()));
  }
  if (out.size() != RecordBytes(index)) {
    return absl::InvalidArgumentError(
        absl::StrCat("record ", index, " has ", RecordBytes(index), " bytes, not ", out.size()));
  }
  const uint64_t offset = kHeaderBytes + index * kSealedRecordBytes;
  Tag tag;
  CONSILIUM_RETURN_IF_ERROR(ReadAt(file_.get(), out, offset, path_));
  CONSILIUM_RETURN_IF_ERROR(ReadAt(file_.get(), tag, offset + out.size(), path_));
  if (!aead_.OpenInPlace(RecordNonce(index), out, tag).ok()) {
    return absl::DataLossError(
        absl::StrCat("record ", index, " of the blob ", path_, " is damaged or moved"));
  }
  next_ = index + 1;
  return absl::OkStatus();
}

absl::StatusOr<std::span<const uint8_t>> SealedBlobReader::ReadRecord(uint64_t index) {
  if (index >= records()) {
    return absl::OutOfRangeError(absl::StrCat("record ", index, " of ", records()));
  }
  record_.resize(RecordBytes(index));
  CONSILIUM_RETURN_IF_ERROR(ReadRecordInto(index, record_));
  return record_;
}

absl::StatusOr<std::vector<uint8_t>> SealedBlobReader::ReadAll(uint64_t bytes_max) {
  if (bytes_ > bytes_max) {
    return absl::ResourceExhaustedError(absl::StrCat("the blob ", path_, " has ", bytes_,
                                                     " bytes; at most ", bytes_max, " are read"));
  }
  std::vector<uint8_t> text;
  text.reserve(static_cast<size_t>(bytes_));
  for (uint64_t index = 0; index < records(); ++index) {
    CONSILIUM_ASSIGN_OR_RETURN(const auto record, ReadRecord(index));
    text.insert(text.end(), record.begin(), record.end());
  }
  return text;
}

}  // namespace consilium
