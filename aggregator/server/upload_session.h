// One update on its way in: checked before a byte is stored, hashed and looked at while it is
// sealed to disk record by record, so memory does not grow with the model; until its last byte has
// come and its hash is right, nothing of it exists.
//
// Ownership: borrows the parts of the server, which outlive it. Threads: one at a time.

#ifndef CONSILIUM_AGGREGATOR_SERVER_UPLOAD_SESSION_H_
#define CONSILIUM_AGGREGATOR_SERVER_UPLOAD_SESSION_H_

#include <array>
#include <memory>
#include <optional>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregator/core/events.h"
#include "aggregator/merge/update_findings.h"
#include "aggregator/server/run_index.h"
#include "aggregator/server/run_vectors.h"
#include "aggregator/server/staged_blobs.h"
#include "consilium/v1/transfer.pb.h"
#include "privacy/at_rest/sealed_blob.h"
#include "protocol/core/ids.h"
#include "protocol/rpc/peer_check.h"
#include "protocol/wire/hash.h"

namespace consilium {

class UploadSession {
 public:
  struct Parts {
    const RunIndex& runs;
    RunVectors& vectors;
    StagedBlobs& staged;
  };

  // Of a closed task an update was decided on before: the engine answers it as it did then, or with
  // TASK_CONFLICT, for which it needs the hash and not the bytes.
  enum class Task { kOpen, kClosed };

  // Refusals: IDENTITY_MISMATCH where the header names another site than the certificate does;
  // MALFORMED; WIRE_VERSION; OVERSIZE; RUN_UNKNOWN; TASK_UNKNOWN where the site was
  // granted no such task; RUN_ENDED where the run was purged; LAYOUT_MISMATCH; STORAGE where the
  // disk refused.
  static absl::StatusOr<std::unique_ptr<UploadSession>> Begin(const Parts& parts,
                                                              const PeerIdentity& peer,
                                                              v1::UpdateHeader header);
  ~UploadSession();

  Task task() const { return task_; }

  // Refusals: OVERSIZE beyond the announced bytes; STORAGE.
  absl::Status Append(std::span<const uint8_t> bytes);

  struct Staged {
    federation::UpdateStaged event;
    // To be kept until the engine has decided.
    std::shared_ptr<StagedBlobs::Hold> hold;
  };
  // After the last byte: the blob of an open task is durable under its update id. Refusals:
  // TRUNCATED, HASH_MISMATCH, STORAGE; nothing remains then.
  absl::StatusOr<Staged> Finish();

 private:
  UploadSession(const Parts& parts, v1::UpdateHeader header, Task task);
  void Look(std::span<const uint8_t> bytes);
  absl::Status Store(const Digest& update_id);

  Parts parts_;
  const v1::UpdateHeader header_;
  const Task task_;
  std::shared_ptr<SealedVectors> vectors_;
  std::optional<SealedBlobWriter> blob_;  // None for a closed task.
  MerkleHasher hash_;
  UpdateFindings findings_;
  // A float that was cut by the border of two chunks.
  std::array<uint8_t, sizeof(float)> cut_ = {};
  size_t cut_bytes_ = 0;
  uint64_t bytes_ = 0;
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_UPLOAD_SESSION_H_
