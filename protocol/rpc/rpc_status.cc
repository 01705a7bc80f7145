#include "protocol/rpc/rpc_status.h"

#include <string>

#include "absl/strings/string_view.h"
#include "protocol/core/printable_text.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/reasons.h"

namespace consilium {
namespace {

// Trailers beyond kMetadataBytesMax would end the call with an error of gRPC's own, and the
// message travels twice; percent-encoding can treble the one of them.
constexpr size_t kMessageBytesMax = 2048;

// gRPC hands out what a peer percent-encoded, whatever bytes it stands for.
std::string Words(absl::string_view message) {
  return PrintableText(message,
                       {.lines = PrintableOptions::Lines::kMany, .bytes_max = kMessageBytesMax});
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const std::string message = Words(status.message());
  v1::ErrorDetail detail = DetailOf(status);
  detail.set_message(message);
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message,
                      detail.SerializeAsString());
}

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  v1::ErrorDetail detail;
  if (status.error_details().size() <= limits::kMetadataBytesMax &&
      detail.ParseFromString(status.error_details()) && v1::Reason_IsValid(detail.reason()) &&
      detail.reason() != v1::REASON_UNSPECIFIED) {
    detail.set_message(Words(detail.message()));
    return Refusal(detail);
  }
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      Words(status.error_message()));
}

}  // namespace consilium
