#include "aggregator/server/upload_session.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/core/failpoint.h"
#include "protocol/core/status_macros.h"
#include "protocol/rpc/peer_identity.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/reasons.h"

namespace consilium {
namespace {

// What a header is refused for, as a reason rather than a code.
absl::Status CheckHeader(const v1::UpdateHeader& header) {
  if (header.wire_version() < limits::kWireVersionMin ||
      header.wire_version() > limits::kWireVersion) {
    return Refusal(v1::WIRE_VERSION,
                   absl::StrFormat("wire version %d is not spoken here", header.wire_version()));
  }
  const absl::Status status = CheckUpdateHeader(header);
  if (absl::IsResourceExhausted(status)) return Refusal(v1::OVERSIZE, status.message());
  if (!status.ok()) return Refusal(v1::MALFORMED, status.message());
  return absl::OkStatus();
}

absl::Status CheckAgainstRun(const v1::UpdateHeader& header, const RunIndex::Facts& run) {
  if (run.phase == federation::RunPhase::kPurged) {
    return Refusal(v1::RUN_ENDED, absl::StrCat("the run ", header.run_id(), " was purged"));
  }
  if (header.layout_hash() != ToBytes(run.layout_hash)) {
    return Refusal(v1::LAYOUT_MISMATCH, "the update's layout is not that of the run's model");
  }
  if (header.payload_bytes() != run.payload_bytes) {
    return Refusal(header.payload_bytes() > run.payload_bytes ? v1::OVERSIZE : v1::LAYOUT_MISMATCH,
                   absl::StrFormat("the update announces %d bytes, the run's model has %d",
                                   header.payload_bytes(), run.payload_bytes));
  }
  return absl::OkStatus();
}

// The engine has the last word on a task. Here, whether there can be such a task at all, and
// whether an update of it may still be merged: else its bytes need not be kept.
absl::StatusOr<UploadSession::Task> TaskOf(const RunIndex& runs, const v1::UpdateHeader& header) {
  const TaskId task(header.task_id());
  const auto standing = runs.FindParticipant(RunId(header.run_id()), SiteId(header.site_id()));
  if (!standing.ok() || task > standing->newest_task) {
    return Refusal(v1::TASK_UNKNOWN, "no such task was granted to this site");
  }
  const std::vector<TaskId>& open = standing->open_tasks;
  return std::find(open.begin(), open.end(), task) == open.end() ? UploadSession::Task::kClosed
                                                                 : UploadSession::Task::kOpen;
}

absl::Status StorageRefusal(const absl::Status& status) {
  return Refusal(v1::STORAGE,
                 absl::StrCat("the aggregator could not store the update: ", status.message()));
}

}  // namespace

UploadSession::UploadSession(const Parts& parts, v1::UpdateHeader header, Task task)
    : parts_(parts), header_(std::move(header)), task_(task) {}
UploadSession::~UploadSession() = default;

absl::StatusOr<std::unique_ptr<UploadSession>> UploadSession::Begin(const Parts& parts,
                                                                    const PeerIdentity& peer,
                                                                    v1::UpdateHeader header) {
  CONSILIUM_RETURN_IF_ERROR(CheckSender(peer, header.site_id()));
  CONSILIUM_RETURN_IF_ERROR(CheckHeader(header));
  CONSILIUM_ASSIGN_OR_RETURN(const RunIndex::Facts run, parts.runs.Find(RunId(header.run_id())));
  CONSILIUM_ASSIGN_OR_RETURN(const Task task, TaskOf(parts.runs, header));
  CONSILIUM_RETURN_IF_ERROR(CheckAgainstRun(header, run));
  std::unique_ptr<UploadSession> session(new UploadSession(parts, std::move(header), task));
  if (task == Task::kClosed) return session;
  auto vectors = parts.vectors.Get(RunId(session->header_.run_id()), run.elements);
  if (!vectors.ok()) return StorageRefusal(vectors.status());
  session->vectors_ = *std::move(vectors);
  auto blob = session->vectors_->blobs().NewWriter();
  if (!blob.ok()) return StorageRefusal(blob.status());
  session->blob_.emplace(*std::move(blob));
  return session;
}

absl::Status UploadSession::Append(std::span<const uint8_t> bytes) {
  if (bytes.size() > header_.payload_bytes() - bytes_) {
    return Refusal(v1::OVERSIZE, absl::StrFormat("the upload has more than the %d bytes that it "
                                                 "announced",
                                                 header_.payload_bytes()));
  }
  const uint64_t half = header_.payload_bytes() / 2;
  const uint64_t before = bytes_;
  bytes_ += bytes.size();
  if (blob_.has_value()) {
    if (absl::Status status = blob_->Append(bytes); !status.ok()) return StorageRefusal(status);
  }
  hash_.Update(bytes);
  Look(bytes);
  if (before < half && bytes_ >= half) Failpoint("aggregator.upload_half_spooled");
  return absl::OkStatus();
}

void UploadSession::Look(std::span<const uint8_t> bytes) {
  // Copied in portions: a chunk's bytes need not lie where a float may.
  std::array<float, 4096> floats;
  while (!bytes.empty()) {
    memcpy(floats.data(), cut_.data(), cut_bytes_);
    const size_t taken = std::min(bytes.size(), sizeof(floats) - cut_bytes_);
    memcpy(reinterpret_cast<uint8_t*>(floats.data()) + cut_bytes_, bytes.data(), taken);
    const size_t whole = (cut_bytes_ + taken) / sizeof(float);
    cut_bytes_ = (cut_bytes_ + taken) % sizeof(float);
    memcpy(cut_.data(), floats.data() + whole, cut_bytes_);
    findings_.Add(std::span<const float>(floats).first(whole));
    bytes = bytes.subspan(taken);
  }
}

absl::Status UploadSession::Store(const Digest& update_id) {
  BlobStore& blobs = vectors_->blobs();
  // The same update again: what lies there is in use, and stays.
  if (blobs.Has(update_id)) return absl::OkStatus();
  CONSILIUM_RETURN_IF_ERROR(blobs.Seal(*blob_, update_id));
  Failpoint("aggregator.blob_written");
  CONSILIUM_RETURN_IF_ERROR(blob_->Sync());
  CONSILIUM_RETURN_IF_ERROR(blobs.Commit(*std::move(blob_)));
  Failpoint("aggregator.blob_synced");
  return absl::OkStatus();
}

absl::StatusOr<UploadSession::Staged> UploadSession::Finish() {
  if (bytes_ != header_.payload_bytes()) {
    return Refusal(v1::TRUNCATED, absl::StrFormat("the upload ended after %d of %d bytes", bytes_,
                                                  header_.payload_bytes()));
  }
  if (ToBytes(hash_.Finish()) != header_.payload_root()) {
    return Refusal(v1::HASH_MISMATCH, "the bytes are not those that the header announced");
  }
  const Digest update_id = UpdateIdOf(header_);
  Staged staged;
  federation::UpdateStaged& event = staged.event;
  event.site = SiteId(header_.site_id());
  event.run = RunId(header_.run_id());
  event.task = TaskId(header_.task_id());
  event.incarnation = Incarnation(header_.incarnation());
  event.base = Version(header_.base_version());
  event.base_model_id = *DigestFromBytes(header_.base_model_id());
  event.layout_hash = *DigestFromBytes(header_.layout_hash());
  event.update = update_id;
  event.examples = header_.examples();
  event.steps = header_.steps();
  event.training_loss = header_.training_loss();
  const bool finite = findings_.finite();
  event.values = finite ? federation::UpdateStaged::Values::kFinite
                        : federation::UpdateStaged::Values::kNotFinite;
  event.norm = finite ? findings_.norm() : 0;
  staged.hold = parts_.staged.Take(
      {.run = event.run, .site = event.site, .task = event.task, .update = update_id});
  if (task_ == Task::kOpen) {
    if (absl::Status status = Store(update_id); !status.ok()) return StorageRefusal(status);
  }
  blob_.reset();
  return staged;
}

}  // namespace consilium
