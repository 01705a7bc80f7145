// One run's part of the journal as a signed file for one recipient
// (protocol/wire/journal_export.h): its entries and those about sites, which it needs; with the
// updates that are still kept, where asked for.
//
// Threads: any.

#ifndef CONSILIUM_AGGREGATOR_SERVER_RUN_EXPORT_H_
#define CONSILIUM_AGGREGATOR_SERVER_RUN_EXPORT_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "aggregator/server/engine_loop.h"
#include "aggregator/server/run_index.h"
#include "aggregator/server/run_vectors.h"
#include "aggregator/server/server_identity.h"
#include "aggregator/server/store.h"
#include "consilium/v1/admin.pb.h"
#include "protocol/core/clock.h"

namespace consilium {

struct ExportParts {
  EngineLoop& engine;
  Store& store;
  const RunIndex& runs;
  RunVectors& vectors;
  const ServerIdentity& identity;
  const Clock& clock;
  std::string software_version;
};

// Hands the file to `sink` piece by piece, each at most limits::kChunkBytes. Refusal RUN_UNKNOWN;
// INVALID_ARGUMENT for a recipient key that is none; FAILED_PRECONDITION where updates are asked
// for that the run does not keep; the store's and the sink's errors.
absl::Status ExportRunTo(const ExportParts& parts, const v1::ExportRunRequest& request,
                         const std::function<absl::Status(absl::string_view)>& sink);

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_RUN_EXPORT_H_
