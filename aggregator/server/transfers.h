// What uploads and downloads mean here: the server's side of protocol/rpc/transfer_service.h.
//
// Ownership: borrows the parts of the server, which outlive every transfer. Threads: any.

#ifndef CONSILIUM_AGGREGATOR_SERVER_TRANSFERS_H_
#define CONSILIUM_AGGREGATOR_SERVER_TRANSFERS_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregator/server/engine_loop.h"
#include "aggregator/server/input_budget.h"
#include "aggregator/server/run_index.h"
#include "aggregator/server/run_vectors.h"
#include "aggregator/server/site_directory.h"
#include "aggregator/server/staged_blobs.h"
#include "protocol/rpc/payload_source.h"
#include "protocol/rpc/transfer_service.h"

namespace consilium {

struct TransferParts {
  EngineLoop& engine;
  const RunIndex& runs;
  RunVectors& vectors;
  StagedBlobs& staged;
  const SiteDirectory& directory;
  InputBudget& budget;
};

TransferHandlers MakeTransferHandlers(const TransferParts& parts);

// What of a version: its weights, or also the control variate that sites fetch after them.
enum class ModelParts : uint8_t { kWeights, kAll };

// A model version's payload, a shard at a time: the cache's one copy for everybody where it is
// there, else records of the sealed blob. Refusals RUN_UNKNOWN, VERSION_UNKNOWN, RUN_ENDED,
// STORAGE. The header's root is that of all parts.
struct ModelPayload {
  v1::ModelHeader header;
  std::unique_ptr<PayloadSource> payload;
};
absl::StatusOr<ModelPayload> OpenModel(const RunIndex& runs, RunVectors& vectors, const RunId& run,
                                       Version version, ModelParts parts);

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_TRANSFERS_H_
