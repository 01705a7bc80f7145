#include "site_agent/runtime/link_errors.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "privacy/at_rest/aead.h"
#include "protocol/core/printable_text.h"
#include "protocol/wire/reasons.h"

namespace consilium::site {
namespace {

std::string Explain(const absl::Status& status, const std::string& address) {
  const v1::ErrorDetail detail = DetailOf(status);
  const absl::string_view message = status.message();
  if (detail.reason() != v1::REASON_UNSPECIFIED) {
    return absl::StrCat("the aggregator ", address, " refuses: ", message, " (",
                        v1::Reason_Name(detail.reason()), ")");
  }
  // Our own check of the aggregator's certificate puts its reason at the front (peer_check.h).
  if (absl::StrContains(message, "FOREIGN_CERTIFICATE") ||
      absl::StrContains(message, "CERTIFICATE_EXPIRED")) {
    return absl::StrCat("what answers at ", address,
                        " is not this federation's aggregator, or a proxy looks into the "
                        "connection; nothing was sent to it: ",
                        message);
  }
  if (status.code() == absl::StatusCode::kUnavailable) {
    return absl::StrCat(
        "the aggregator ", address,
        " can not be reached, or does not accept this site's certificate: ", message);
  }
  if (status.code() == absl::StatusCode::kDeadlineExceeded) {
    return absl::StrCat("the aggregator ", address, " does not answer in time");
  }
  return absl::StrCat("the link to ", address, " failed: ", status.ToString());
}

}  // namespace

std::string ExplainLinkError(const absl::Status& status, const std::string& address) {
  return PrintableText(Explain(status, address));
}

v1::ErrorDetail PrintableDetailOf(const absl::Status& status) {
  v1::ErrorDetail detail = DetailOf(status);
  detail.set_message(PrintableText(detail.message()));
  return detail;
}

bool IsRefusalForGood(v1::Reason reason) {
  switch (reason) {
    case v1::LEASE_FENCED:
    case v1::INCARNATION_FENCED:
    case v1::SITE_REVOKED:
    case v1::SITE_UNKNOWN:
    case v1::WIRE_VERSION:
    case v1::IDENTITY_MISMATCH:
      return true;
    default:
      return false;
  }
}

double DrawJitter() {
  uint8_t bytes[8] = {};
  // Without the generator every site waits the same time, which is still right.
  if (!RandomFill(bytes).ok()) return 0.5;
  uint64_t bits = 0;
  memcpy(&bits, bytes, sizeof(bits));
  return std::ldexp(static_cast<double>(bits >> 11), -53);
}

absl::Duration Backoff::Next() {
  const double doublings = std::exp2(std::min(failures_, 30));
  ++failures_;
  const absl::Duration full = std::min(kBackoffMin * doublings, kBackoffMax);
  return full * (0.5 + 0.5 * DrawJitter());
}

}  // namespace consilium::site
