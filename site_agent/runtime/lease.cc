#include "site_agent/runtime/lease.h"

#include <openssl/crypto.h>

#include <utility>

#include "privacy/at_rest/aead.h"
#include "protocol/core/failpoint.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/reasons.h"

namespace consilium::site {
namespace {

std::string TextOf(const SecretBytes& secret) {
  return std::string(secret.span().begin(), secret.span().end());
}

}  // namespace

absl::Status Lease::Offer(v1::Hello& hello) {
  CONSILIUM_ASSIGN_OR_RETURN(LeasePair leases, store_->Leases());
  if (leases.next.empty()) {
    CONSILIUM_ASSIGN_OR_RETURN(leases.next, RandomKey());
    CONSILIUM_RETURN_IF_ERROR(store_->PutLeases(leases));
  }
  hello.set_lease_presented(TextOf(leases.current));
  hello.set_lease_next(TextOf(leases.next));
  return absl::OkStatus();
}

absl::StatusOr<v1::LeaseConfirm> Lease::Accept(const v1::Welcome& welcome) {
  CONSILIUM_ASSIGN_OR_RETURN(LeasePair leases, store_->Leases());
  const std::string& given = welcome.lease();
  if (leases.next.empty() || given.size() != leases.next.size() ||
      CRYPTO_memcmp(given.data(), leases.next.data(), given.size()) != 0) {
    return Refusal(v1::MALFORMED, "the aggregator's Welcome names a lease that was not offered");
  }
  v1::LeaseConfirm confirm;
  confirm.set_lease(given);
  CONSILIUM_RETURN_IF_ERROR(
      store_->PutLeases({.current = std::move(leases.next), .next = SecretBytes()}));
  Failpoint("agent.lease_stored");
  return confirm;
}

}  // namespace consilium::site
