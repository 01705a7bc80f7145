#include "aggregator/server/audit.h"

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "aggregator/core/strategies/control_variates.h"
#include "aggregator/merge/vector_store.h"
#include "aggregator/server/journal_head.h"
#include "privacy/at_rest/hash_chain.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"

namespace consilium {
namespace {

// A blob that must be there, and its Merkle root where the journal knows it.
struct NamedBlob {
  RunId run;
  uint64_t elements = 0;
  Digest name = {};
  std::optional<Digest> control;  // The blob of the control variate that the root covers, too.
  std::optional<Digest> payload_root;
  std::string what;
};

std::vector<NamedBlob> BlobsOf(const federation::RunState& run, const EngineLoop& engine,
                               SealedVectors& vectors) {
  std::vector<NamedBlob> blobs;
  for (const federation::VersionState& version : run.versions) {
    const VectorName name = VectorName::Model(version.version);
    if (engine.IsForgotten(run.run, name)) continue;
    const std::optional<VectorName> control = federation::ControlOf(run, version.version);
    blobs.push_back({run.run, run.elements, *vectors.BlobOf(name),
                     control.has_value() ? vectors.BlobOf(*control) : std::nullopt,
                     version.payload_root, absl::StrCat("version ", version.version.value())});
  }
  for (const auto& [site, participant] : run.participants) {
    for (const auto& [task, state] : participant.tasks) {
      if (!engine.IsNamed({.run = run.run, .site = site, .task = task, .update = state.update})) {
        continue;
      }
      blobs.push_back({run.run, run.elements, state.update, std::nullopt, std::nullopt,
                       absl::StrCat("update of ", site.value(), " for task ", task.value())});
    }
  }
  return blobs;
}

absl::StatusOr<Digest> RootOf(BlobStore& blobs, const Digest& name, uint64_t elements) {
  CONSILIUM_ASSIGN_OR_RETURN(SealedBlobReader reader, blobs.Read(name));
  if (reader.size() != elements * sizeof(float)) {
    return absl::DataLossError("has another size than the run's model");
  }
  MerkleHasher hash;
  for (;;) {
    CONSILIUM_ASSIGN_OR_RETURN(const std::optional<std::span<const uint8_t>> record, reader.Next());
    if (!record.has_value()) break;
    hash.Update(*record);
  }
  return hash.Finish();
}

absl::Status CheckBlob(const NamedBlob& blob, RunVectors& vectors) {
  CONSILIUM_ASSIGN_OR_RETURN(const std::shared_ptr<SealedVectors> of_run,
                             vectors.Get(blob.run, blob.elements));
  CONSILIUM_ASSIGN_OR_RETURN(Digest root, RootOf(of_run->blobs(), blob.name, blob.elements));
  if (blob.control.has_value()) {
    CONSILIUM_ASSIGN_OR_RETURN(const Digest second,
                               RootOf(of_run->blobs(), *blob.control, blob.elements));
    root = MerkleRootOfTwo(root, second);
  }
  if (blob.payload_root.has_value() && root != *blob.payload_root) {
    return absl::DataLossError("is not what the journal says");
  }
  return absl::OkStatus();
}

bool IsFinding(const absl::Status& status) {
  return absl::IsDataLoss(status) || absl::IsNotFound(status);
}

}  // namespace

absl::StatusOr<v1::VerifyAuditResponse> VerifyAudit(const AuditParts& parts) {
  v1::VerifyAuditResponse response;
  CONSILIUM_ASSIGN_OR_RETURN(std::vector<ChainHead> known,
                             KnownHeads(parts.store, parts.signing_key));
  ChainVerifier verifier({}, known);
  absl::Status chain = parts.store.ReadJournal(
      Sequence(1), [&verifier](const ChainRow& row) { return verifier.Check(row); });
  if (chain.ok()) chain = verifier.Finish();
  response.set_entries(verifier.head().sequence.value());
  response.set_head(ToBytes(verifier.head().digest));
  if (IsFinding(chain)) {
    response.set_first_bad_sequence(verifier.first_wrong().value_or(Sequence()).value());
    response.set_finding(std::string(chain.message()));
    return response;
  }
  CONSILIUM_RETURN_IF_ERROR(chain);

  std::vector<NamedBlob> blobs;
  absl::Status listed;
  CONSILIUM_RETURN_IF_ERROR(parts.engine.Inspect([&](const federation::FederationEngine& engine) {
    for (const auto& [id, run] : engine.runs()) {
      if (run.phase == federation::RunPhase::kPurged) continue;
      auto vectors = parts.vectors.Get(id, run.elements);
      listed.Update(vectors.status());
      if (!vectors.ok()) continue;
      for (NamedBlob& blob : BlobsOf(run, parts.engine, **vectors)) {
        blobs.push_back(std::move(blob));
      }
    }
  }));
  CONSILIUM_RETURN_IF_ERROR(listed);
  for (const NamedBlob& blob : blobs) {
    const absl::Status status = CheckBlob(blob, parts.vectors);
    if (IsFinding(status)) {
      response.set_finding(
          absl::StrCat("run ", blob.run.value(), ": ", blob.what, ": ", status.message()));
      return response;
    }
    CONSILIUM_RETURN_IF_ERROR(status);
  }
  response.set_intact(true);
  return response;
}

}  // namespace consilium
