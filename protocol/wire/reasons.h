// Refusals with a reason: an absl::Status that carries a v1::ErrorDetail, so that the reason, the
// retry rule and the sentence travel together from where they were found to the peer and the log.
//
// Threads: any.

#ifndef CONSILIUM_PROTOCOL_WIRE_REASONS_H_
#define CONSILIUM_PROTOCOL_WIRE_REASONS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "consilium/v1/errors.pb.h"

namespace consilium {

// The canonical code that a reason travels under (docs/errors.md).
absl::StatusCode CodeOf(v1::Reason reason);
// Whether the same bytes may succeed later.
bool IsRetryable(v1::Reason reason);

// A status of CodeOf(reason) that carries the detail.
absl::Status Refusal(v1::Reason reason, absl::string_view message);
absl::Status Refusal(const v1::ErrorDetail& detail);

// The detail of a status; for one without, reason REASON_UNSPECIFIED and retryable by code
// (UNAVAILABLE, RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED, ABORTED).
v1::ErrorDetail DetailOf(const absl::Status& status);

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_WIRE_REASONS_H_
