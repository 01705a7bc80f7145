// absl::Status here, grpc::Status on the wire: code and message as they are, the ErrorDetail of a
// refusal (protocol/wire/reasons.h) serialized in the status's binary details. Messages are made
// printable (protocol/core/printable_text.h) in both directions; line feeds stay.
//
// Threads: any.

#ifndef CONSILIUM_PROTOCOL_RPC_RPC_STATUS_H_
#define CONSILIUM_PROTOCOL_RPC_RPC_STATUS_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace consilium {

grpc::Status ToGrpcStatus(const absl::Status& status);

// Details that are no ErrorDetail with a known reason are left out: they may come from a proxy, or
// from a peer that is newer than we are.
absl::Status FromGrpcStatus(const grpc::Status& status);

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_RPC_RPC_STATUS_H_
