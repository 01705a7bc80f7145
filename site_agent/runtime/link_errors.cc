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

std::string AdviceFor(v1::Reason reason, const Stranded& whom) {
  const std::string join_again = absl::StrCat(
      "ask who runs the aggregator for a new join file (consilium site add --again ", whom.site,
      "), then: consilium-agent enrol --store ", whom.store_folder, " --join FILE");
  switch (reason) {
    case v1::LEASE_FENCED:
    case v1::INCARNATION_FENCED:
      return absl::StrCat(
          "Two copies of this site's store are about, and this one came second. If the other one "
          "is to stay, delete this one. If this one is to stay, stop the other for good and ",
          join_again);
    case v1::CERTIFICATE_EXPIRED:
      return absl::StrCat("To come back, ", join_again);
    case v1::SITE_REVOKED:
      return "If that is a mistake, ask who runs the aggregator: the site may join again under a "
             "new name, with a new store";
    case v1::SITE_UNKNOWN:
      return "Ask who runs the aggregator whether it was set up anew or restored from an old "
             "backup";
    case v1::WIRE_VERSION:
      return "Update the older of the two programs";
    default:
      return "";
  }
}

std::string StateAfter(v1::Reason reason) {
  switch (reason) {
    case v1::SITE_REVOKED:
      return "revoked by the aggregator; joins only under a new name";
    case v1::LEASE_FENCED:
    case v1::INCARNATION_FENCED:
      return "shut out by the aggregator as the second copy of one store";
    default:
      return absl::StrCat("refused by the aggregator for good (", v1::Reason_Name(reason), ")");
  }
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
