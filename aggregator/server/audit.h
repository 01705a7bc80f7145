// Whether what the aggregator has kept is whole: the journal's chain from its first entry to its
// head, through every head that was signed, and each blob that a run which is not purged names.
//
// Threads: any; reads the whole journal and all blobs, which takes as long as the disk does.

#ifndef CONSILIUM_AGGREGATOR_SERVER_AUDIT_H_
#define CONSILIUM_AGGREGATOR_SERVER_AUDIT_H_

#include "absl/status/statusor.h"
#include "aggregator/server/engine_loop.h"
#include "aggregator/server/run_vectors.h"
#include "aggregator/server/store.h"
#include "consilium/v1/admin.pb.h"
#include "protocol/wire/signing_key.h"

namespace consilium {

struct AuditParts {
  EngineLoop& engine;
  Store& store;
  RunVectors& vectors;
  const PublicKey& signing_key;
};

// What is wrong is a finding, not an error; an error is a disk that can not be read.
absl::StatusOr<v1::VerifyAuditResponse> VerifyAudit(const AuditParts& parts);

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_AUDIT_H_
