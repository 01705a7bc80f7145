// The logs of gRPC and Protobuf, routed into ours, and a line for every connection that was
// refused, with the reason as exactly as it is known. Both are limited in rate: above
// kRefusalsPerWindow in a window they are only counted, so that a peer can not fill a disk. Lines
// about a peer whose certificate was checked are its service's, with a limit of its own
// (aggregator/server/site_log.h).
//
// Threads: any.

#ifndef CONSILIUM_PROTOCOL_RPC_CONNECTION_LOG_H_
#define CONSILIUM_PROTOCOL_RPC_CONNECTION_LOG_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace consilium {

inline constexpr int kRefusalsPerWindow = 30;
inline constexpr absl::Duration kRefusalWindow = absl::Seconds(10);

// 'connection refused: <why>' as a warning; `why` begins with a Reason's name.
void LogRefusedConnection(absl::string_view why);

// Sends the logs of gRPC and Protobuf to spdlog. Failed handshakes become LogRefusedConnection
// lines.
void RouteLibraryLogs();

// What a gRPC log line about a failed handshake means, in a sentence for a person; empty for any
// other line. OpenSSL's words for what a peer did are all there is: no certificate, no TLS 1.3, no
// TLS at all; what is wrong with a certificate that was shown, LogRefusedConnection's callers know.
std::string ExplainHandshakeFailure(absl::string_view grpc_line);

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_RPC_CONNECTION_LOG_H_
