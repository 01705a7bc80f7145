#include "sim/engine/idle_vectors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"

namespace consilium {
namespace {

// /tmp is memory on many systems, which is what is to be saved.
constexpr char kFolder[] = "/var/tmp";
constexpr char kWhat[] = "can not write the vectors of idle sites to a file in";

std::span<const uint8_t> AsBytes(const std::vector<float>& values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)};
}

// As errno says. What fails is the disk and no worker, who alone is UNAVAILABLE to a training pool.
absl::Status DiskError(absl::string_view what, const std::string& folder) {
  const absl::Status status = SystemError(what, folder);
  return absl::IsUnavailable(status) ? absl::InternalError(status.message()) : status;
}

// A file without a name. Where the file system knows none, it has one for a moment.
int OpenNameless(const std::string& folder) {
  const int file = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  // EISDIR: of a kernel without it.
  if (file >= 0 || (errno != EOPNOTSUPP && errno != EISDIR)) return file;
  std::string path = absl::StrCat(folder, "/idle-XXXXXX");
  const int named = mkostemp(path.data(), O_CLOEXEC);
  if (named < 0 || unlink(path.c_str()) == 0) return named;
  const int error = errno;
  close(named);
  errno = error;
  return -1;
}

}  // namespace

IdleVector::~IdleVector() { of_->Drop(id_); }
absl::StatusOr<IdleVector::Values> IdleVector::Read() const {
  return of_->Read(id_, IdleVectors::Use::kRead);
}
absl::StatusOr<IdleVector::Values> IdleVector::Peek() const {
  return of_->Read(id_, IdleVectors::Use::kPeek);
}
IdleVector::Values IdleVector::InMemory() const { return of_->InMemory(id_); }

std::shared_ptr<IdleVectors> IdleVectors::Create(Options options) {
  return std::shared_ptr<IdleVectors>(new IdleVectors(std::move(options)));
}

IdleVectors::~IdleVectors() {
  if (file_ >= 0) close(file_);
}

uint64_t IdleVectors::bytes_in_memory() const {
  absl::MutexLock lock(&mu_);
  return bytes_;
}

uint64_t IdleVectors::file_bytes() const {
  absl::MutexLock lock(&mu_);
  return file_bytes_;
}

// --- What is held -----------------------------------------------------------------------------

absl::StatusOr<IdleVectors::Held> IdleVectors::Keep(Values values) {
  uint64_t id = 0;
  absl::Status status;
  {
    absl::MutexLock lock(&mu_);
    id = ++ids_;
    Entry& entry = entries_[id];
    entry.bytes = values->size() * sizeof(float);
    entry.at_work = values;
    status = PutInMemory(id, std::move(values));
  }
  Held held(new IdleVector(shared_from_this(), id));
  CONSILIUM_RETURN_IF_ERROR(status);
  return held;
}

absl::StatusOr<IdleVectors::Values> IdleVectors::Read(uint64_t id, Use use) {
  absl::MutexLock lock(&mu_);
  Entry& entry = entries_.find(id)->second;
  if (entry.values != nullptr) {
    if (use == Use::kRead) turns_.splice(turns_.begin(), turns_, entry.turn);
    return entry.values;
  }
  // Many sites may train from one model: it is in memory once.
  Values values = entry.at_work.lock();
  if (values == nullptr) {
    CONSILIUM_ASSIGN_OR_RETURN(values, ReadBack(entry));
    entry.at_work = values;
  }
  if (use == Use::kRead) CONSILIUM_RETURN_IF_ERROR(PutInMemory(id, values));
  return values;
}

IdleVectors::Values IdleVectors::InMemory(uint64_t id) {
  absl::MutexLock lock(&mu_);
  return entries_.find(id)->second.values;
}

void IdleVectors::Drop(uint64_t id) {
  absl::MutexLock lock(&mu_);
  const auto found = entries_.find(id);
  Entry& entry = found->second;
  if (entry.values != nullptr) TakeOutOfMemory(entry);
  if (entry.place.has_value()) free_[entry.bytes].push_back(*entry.place);
  entries_.erase(found);
}

absl::Status IdleVectors::PutInMemory(uint64_t id, Values values) {
  Entry& entry = entries_.find(id)->second;
  turns_.push_front(id);
  entry.turn = turns_.begin();
  entry.values = std::move(values);
  bytes_ += entry.bytes;
  return MakeRoom();
}

void IdleVectors::TakeOutOfMemory(Entry& entry) {
  turns_.erase(entry.turn);
  entry.values = nullptr;
  bytes_ -= entry.bytes;
}

absl::Status IdleVectors::MakeRoom() {
  while (bytes_ > options_.bytes_max) {
    Entry& last = entries_.find(turns_.back())->second;
    if (!last.place.has_value()) CONSILIUM_RETURN_IF_ERROR(WriteOut(last));
    TakeOutOfMemory(last);
  }
  return absl::OkStatus();
}

// --- The file ---------------------------------------------------------------------------------

std::string IdleVectors::Folder() const {
  if (!options_.folder.empty()) return options_.folder;
  const char* const named = getenv("TMPDIR");
  return named != nullptr && *named != '\0' ? named : kFolder;
}

absl::Status IdleVectors::OpenFile() {
  if (file_ >= 0) return absl::OkStatus();
  file_ = OpenNameless(Folder());
  if (file_ >= 0) return absl::OkStatus();
  const absl::Status status = DiskError(kWhat, Folder());
  // Nobody asked for something that is not there.
  return absl::IsNotFound(status) ? absl::FailedPreconditionError(status.message()) : status;
}

uint64_t IdleVectors::FreePlace(uint64_t bytes) {
  std::vector<uint64_t>& free = free_[bytes];
  if (!free.empty()) {
    const uint64_t place = free.back();
    free.pop_back();
    return place;
  }
  return std::exchange(file_bytes_, file_bytes_ + bytes);
}

absl::Status IdleVectors::WriteOut(Entry& entry) {
  CONSILIUM_RETURN_IF_ERROR(OpenFile());
  const std::span<const uint8_t> bytes = AsBytes(*entry.values);
  const uint64_t place = FreePlace(bytes.size());
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t written =
        pwrite(file_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(place + done));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      const absl::Status status = DiskError(kWhat, Folder());
      free_[bytes.size()].push_back(place);
      return status;
    }
    done += static_cast<size_t>(written);
  }
  entry.place = place;
  entry.digest = Sha256Of(bytes);
  return absl::OkStatus();
}

absl::StatusOr<IdleVectors::Values> IdleVectors::ReadBack(const Entry& entry) {
  auto values = std::make_shared<std::vector<float>>(entry.bytes / sizeof(float));
  auto* const bytes = reinterpret_cast<uint8_t*>(values->data());
  for (size_t done = 0; done < entry.bytes;) {
    const ssize_t read =
        pread(file_, bytes + done, entry.bytes - done, static_cast<off_t>(*entry.place + done));
    if (read < 0 && errno == EINTR) continue;
    if (read < 0) {
      return DiskError("can not read the vectors of idle sites from a file in", Folder());
    }
    if (read == 0) break;  // Cut off: the digest tells.
    done += static_cast<size_t>(read);
  }
  if (Sha256Of(AsBytes(*values)) != entry.digest) {
    return absl::DataLossError(
        absl::StrCat("the file of idle sites' vectors in ", Folder(), " is damaged"));
  }
  return values;
}

}  // namespace consilium
