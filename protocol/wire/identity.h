// The canonical digests by which plans, models, updates and receipts are known everywhere: in
// receipts, journals and file names. Fields in a fixed order under a domain of their own
// (FieldHasher), so that they do not hang on how a message was serialized.
//
// Threads: any.

#ifndef CONSILIUM_PROTOCOL_WIRE_IDENTITY_H_
#define CONSILIUM_PROTOCOL_WIRE_IDENTITY_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "consilium/v1/run_config.pb.h"
#include "consilium/v1/transfer.pb.h"
#include "protocol/core/ids.h"

namespace consilium {

// What a site approves: config, spec and contract as one.
Digest PlanHash(const v1::RunPlan& plan);

// An update is known by its header without the incarnation, which only fences. The payload enters
// by its Merkle root. `header` has passed CheckUpdateHeader.
Digest UpdateIdOf(const v1::UpdateHeader& header);

struct ModelIdentity {
  RunId run;
  Version version;
  Digest layout_hash;
  Digest payload_root;
  // Digest of the standardisation that the model was trained under (StandardisationHash).
  Digest standardisation_hash;
};
Digest ModelIdOf(const ModelIdentity& model);

// What Ed25519 signs: every field of the receipt but the signature.
Digest ReceiptDigest(const v1::Receipt& receipt);

// Sizes of digests, known encoding and ranges of a header from a peer, before anything is
// allocated for it. INVALID_ARGUMENT names the field.
absl::Status CheckUpdateHeader(const v1::UpdateHeader& header);
absl::Status CheckModelHeader(const v1::ModelHeader& header);

// [a-z0-9][a-z0-9-]{0,62}. INVALID_ARGUMENT says what is wrong with it.
absl::Status CheckSiteId(absl::string_view id);
absl::Status CheckRunId(absl::string_view id);

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_WIRE_IDENTITY_H_
