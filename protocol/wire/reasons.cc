#include "protocol/wire/reasons.h"

#include "absl/strings/cord.h"

namespace consilium {
namespace {

constexpr char kDetailUrl[] = "consilium.v1.ErrorDetail";

}  // namespace

absl::StatusCode CodeOf(v1::Reason reason) {
  switch (reason) {
    case v1::NO_CERTIFICATE:
    case v1::FOREIGN_CERTIFICATE:
    case v1::CERTIFICATE_EXPIRED:
    case v1::IDENTITY_MISMATCH:
      return absl::StatusCode::kUnauthenticated;
    case v1::SITE_REVOKED:
    case v1::SITE_UNKNOWN:
    case v1::TOKEN_REFUSED:
    case v1::NOT_APPROVED:
    case v1::LEASE_FENCED:
    case v1::INCARNATION_FENCED:
      return absl::StatusCode::kPermissionDenied;
    case v1::RUN_UNKNOWN:
    case v1::TASK_UNKNOWN:
    case v1::BASE_UNKNOWN:
    case v1::VERSION_UNKNOWN:
    case v1::NO_DATASET:
      return absl::StatusCode::kNotFound;
    case v1::LEASE_IN_USE:
    case v1::BUSY:
    case v1::NOT_ATTACHED:
    case v1::STORAGE:
      return absl::StatusCode::kUnavailable;
    case v1::TRUNCATED:
      return absl::StatusCode::kAborted;
    case v1::HASH_MISMATCH:
      return absl::StatusCode::kDataLoss;
    case v1::TASK_CONFLICT:
      return absl::StatusCode::kAlreadyExists;
    case v1::OVERSIZE:
      return absl::StatusCode::kOutOfRange;
    case v1::RUN_ENDED:
    case v1::TOO_STALE:
    case v1::ROUND_CLOSED:
    case v1::TOO_FEW_EXAMPLES:
    case v1::TOO_MANY_EXAMPLES:
    case v1::WIRE_VERSION:
      return absl::StatusCode::kFailedPrecondition;
    case v1::LAYOUT_MISMATCH:
    case v1::NOT_FINITE:
    case v1::NORM_TOO_LARGE:
    case v1::MALFORMED:
    case v1::SPEC_REFUSED:
      return absl::StatusCode::kInvalidArgument;
    default:
      return absl::StatusCode::kInternal;
  }
}

bool IsRetryable(v1::Reason reason) {
  switch (reason) {
    case v1::LEASE_IN_USE:
    case v1::BUSY:
    case v1::NOT_ATTACHED:
    case v1::STORAGE:
    case v1::TRUNCATED:
    case v1::HASH_MISMATCH:
      return true;
    default:
      return false;
  }
}

absl::Status Refusal(v1::Reason reason, absl::string_view message) {
  v1::ErrorDetail detail;
  detail.set_reason(reason);
  detail.set_retryable(IsRetryable(reason));
  detail.set_message(std::string(message));
  return Refusal(detail);
}

absl::Status Refusal(const v1::ErrorDetail& detail) {
  absl::Status status(CodeOf(detail.reason()), detail.message());
  status.SetPayload(kDetailUrl, absl::Cord(detail.SerializeAsString()));
  return status;
}

v1::ErrorDetail DetailOf(const absl::Status& status) {
  v1::ErrorDetail detail;
  if (auto payload = status.GetPayload(kDetailUrl);
      payload.has_value() && detail.ParseFromString(std::string(*payload))) {
    return detail;
  }
  detail.Clear();
  detail.set_retryable(absl::IsUnavailable(status) || absl::IsResourceExhausted(status) ||
                       absl::IsDeadlineExceeded(status) || absl::IsAborted(status));
  detail.set_message(std::string(status.message()));
  return detail;
}

}  // namespace consilium
