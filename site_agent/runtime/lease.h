// The rotating lease that fences a copied store. Copied counters are identical, so a site proves
// that it is the one that attached last with a secret that both sides exchange at every attach,
// durably here before the old one dies there (docs/adr/0001-lifecycle.md):
//
//   Offer()   draws `next`, stores it, and gives what Hello presents
//   Accept()  Welcome came: `next` becomes the lease, durably; gives the confirmation to send
//
// A crash between any two steps presents a lease that the aggregator still takes: the current one,
// or the pending one. A copy that attaches after this store did presents a dead one: LEASE_FENCED.
//
// Ownership: borrows the store. Threads: one at a time.

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_LEASE_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_LEASE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "consilium/v1/coordination.pb.h"
#include "site_agent/runtime/site_store.h"

namespace consilium::site {

class Lease {
 public:
  // `store` outlives it.
  explicit Lease(SiteStore* store) : store_(store) {}

  // Sets lease_presented and lease_next of `hello`. FAILED_PRECONDITION where the site has not
  // enrolled; the disk's errors.
  absl::Status Offer(v1::Hello& hello);

  // Refusal MALFORMED where `welcome` names another lease than the one that was offered: nothing
  // has changed then. Passes the failpoint agent.lease_stored.
  absl::StatusOr<v1::LeaseConfirm> Accept(const v1::Welcome& welcome);

 private:
  SiteStore* store_;
};

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_LEASE_H_
