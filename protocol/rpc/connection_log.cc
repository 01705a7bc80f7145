#include "protocol/rpc/connection_log.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <spdlog/spdlog.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "protocol/core/line_rate.h"

namespace consilium {
namespace {

// Neither is ever destroyed: gRPC's threads may log while the process ends.
LineRate& RefusalRate() {
  static LineRate& rate = *new LineRate({kRefusalsPerWindow, kRefusalWindow});
  return rate;
}
LineRate& LibraryLineRate() {
  static LineRate& rate = *new LineRate({kRefusalsPerWindow, kRefusalWindow});
  return rate;
}

void WarnOfLibrary(const char* library, const char* line) {
  int64_t skipped = 0;
  if (!LibraryLineRate().Allow(absl::Now(), skipped)) return;
  if (skipped > 0) spdlog::warn("{}: {} lines before this one were left out", library, skipped);
  spdlog::warn("{}: {}", library, line);
}

void OnGrpcLine(gpr_log_func_args* line) {
  const absl::string_view message = line->message;
  if (const std::string why = ExplainHandshakeFailure(message); !why.empty()) {
    LogRefusedConnection(why);
    return;
  }
  // gRPC's word for a client that asked for another host name than the certificate's: not refused.
  const bool worth_a_warning = line->severity == GPR_LOG_SEVERITY_ERROR &&
                               !absl::StrContains(message, "No match found for server name");
  if (!worth_a_warning) {
    spdlog::debug("grpc: {}", line->message);
    return;
  }
  WarnOfLibrary("grpc", line->message);
}

void OnProtobufLine(google::protobuf::LogLevel level, const char*, int, const std::string& line) {
  if (level >= google::protobuf::LOGLEVEL_WARNING) WarnOfLibrary("protobuf", line.c_str());
}

}  // namespace

void LogRefusedConnection(absl::string_view why) {
  int64_t skipped = 0;
  if (!RefusalRate().Allow(absl::Now(), skipped)) return;
  if (skipped > 0) spdlog::warn("connection refused: {} more, not listed one by one", skipped);
  spdlog::warn("connection refused: {}", std::string(why));
}

void RouteLibraryLogs() {
  gpr_set_log_function(OnGrpcLine);
  google::protobuf::SetLogHandler(OnProtobufLine);
}

std::string ExplainHandshakeFailure(absl::string_view grpc_line) {
  if (!absl::StrContains(grpc_line, "Handshake failed")) return "";
  if (absl::StrContains(grpc_line, "peer did not return a certificate")) {
    return "NO_CERTIFICATE: the peer showed no certificate";
  }
  if (absl::StrContains(grpc_line, "no shared cipher") ||
      absl::StrContains(grpc_line, "unsupported protocol") ||
      absl::StrContains(grpc_line, "no protocols available")) {
    return "FOREIGN_CERTIFICATE: the peer does not speak TLS 1.3, and nothing older is accepted";
  }
  if (absl::StrContains(grpc_line, "http request") ||
      absl::StrContains(grpc_line, "wrong version number")) {
    return "FOREIGN_CERTIFICATE: the peer does not speak TLS";
  }
  return absl::StrCat("the TLS handshake failed: ", grpc_line);
}

}  // namespace consilium
