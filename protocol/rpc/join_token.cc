#include "protocol/rpc/join_token.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/core/status_macros.h"
#include "protocol/rpc/peer_check.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/reasons.h"

namespace consilium {
namespace {

constexpr size_t kTokenBytes = 32;

Digest TokenDigest(const SiteId& site, absl::string_view token) {
  return FieldHasher("consilium.join-token.v1")
      .Add(absl::string_view(site.value()))
      .Add(token)
      .Finish();
}

std::string EndText(absl::Time end) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%SZ", end, absl::UTCTimeZone());
}

absl::Status CheckAddress(absl::string_view field, absl::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == absl::string_view::npos || colon == 0 || colon + 1 == address.size() ||
      address.size() > limits::kAddressCharsMax) {
    return absl::InvalidArgumentError(absl::StrCat(field, ": must be host:port"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<NewJoinToken> MakeJoinToken(const SiteId& site, absl::Time now) {
  CONSILIUM_RETURN_IF_ERROR(CheckSiteId(site.value()));
  NewJoinToken made;
  made.token.resize(kTokenBytes);
  if (RAND_priv_bytes(reinterpret_cast<uint8_t*>(made.token.data()),
                      static_cast<int>(made.token.size())) != 1) {
    return absl::InternalError("the system gave no random bytes");
  }
  made.record = {site, TokenDigest(site, made.token), now + limits::kJoinTokenLifetime};
  return made;
}

absl::Status CheckJoinToken(const v1::EnrolRequest& request, const JoinTokenRecord& record,
                            absl::Time now) {
  const Digest shown = TokenDigest(SiteId(request.site_id()), request.token());
  if (request.token().size() != kTokenBytes ||
      CRYPTO_memcmp(shown.data(), record.digest.data(), shown.size()) != 0) {
    return Refusal(v1::TOKEN_REFUSED,
                   "the join token is unknown, spent, or another site's: ask for a new join file");
  }
  if (now >= record.expires) {
    return Refusal(v1::TOKEN_REFUSED,
                   absl::StrCat("the join token ended at ", EndText(record.expires),
                                ": ask for a new join file"));
  }
  return absl::OkStatus();
}

Digest EnrolmentDigest(const v1::EnrolRequest& request) {
  return FieldHasher("consilium.enrolment.v1")
      .Add(absl::string_view(request.site_id()))
      .Add(absl::string_view(request.token()))
      .Add(absl::string_view(request.csr_pem()))
      .Add(absl::string_view(request.signing_public_key()))
      .Finish();
}

absl::Status CheckJoinFile(const v1::JoinFile& file, absl::Time now) {
  CONSILIUM_RETURN_IF_ERROR(CheckFederationName(file.federation()));
  CONSILIUM_RETURN_IF_ERROR(CheckSiteId(file.site_id()));
  if (file.token().size() != kTokenBytes) {
    return absl::InvalidArgumentError("token: must have 32 bytes");
  }
  CONSILIUM_RETURN_IF_ERROR(CheckAddress("enrolment_address", file.enrolment_address()));
  CONSILIUM_RETURN_IF_ERROR(CheckAddress("aggregator_address", file.aggregator_address()));
  const absl::StatusOr<TrustAnchors> anchors = TrustAnchors::FromPem(file.root_certificate_pem());
  if (!anchors.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("root_certificate_pem: ", anchors.status().message()));
  }
  if (anchors->federation() != file.federation()) {
    return absl::InvalidArgumentError(absl::StrCat("federation: is ", file.federation(),
                                                   ", but the root certificate is of ",
                                                   anchors->federation()));
  }
  const absl::Time end = absl::FromUnixSeconds(file.expires_unix_s());
  if (now >= end) {
    return Refusal(v1::TOKEN_REFUSED,
                   absl::StrCat("the join file ended at ", EndText(end), ": ask for a new one"));
  }
  return absl::OkStatus();
}

}  // namespace consilium
