// Keeps the site's certificate valid: at half of its life, give or take a jitter, it makes a new
// key, has it certified over the connection that still works, and installs the two together. The
// channels take them into use by themselves; nothing restarts.
//
// Ownership: borrows store and gate. Threads: one of its own.

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_CERTIFICATE_RENEWAL_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_CERTIFICATE_RENEWAL_H_

#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "site_agent/runtime/egress_gate.h"
#include "site_agent/runtime/site_store.h"

namespace consilium::site {

struct CertificateLife {
  absl::Time begin;
  absl::Time end;
};
// Half of its life, moved by up to a twentieth of it either way. `jitter` in [0, 1).
absl::Time RenewalTime(const CertificateLife& life, double jitter);

// Refusal CERTIFICATE_EXPIRED where the store's certificate has ended before `now`, and says when.
absl::Status CheckNotExpired(const SiteStore& store, absl::Time now);

class CertificateRenewal {
 public:
  CertificateRenewal(SiteStore* store, EgressGate* gate) : store_(store), gate_(gate) {}
  ~CertificateRenewal();
  CertificateRenewal(const CertificateRenewal&) = delete;
  CertificateRenewal& operator=(const CertificateRenewal&) = delete;

  void Start();
  void Stop();

  // Renews now. The gate's errors; FAILED_PRECONDITION where what came back does not fit the key
  // or is no certificate of this site: the old pair stays then.
  absl::Status RenewNow();

 private:
  void Run();
  absl::StatusOr<absl::Time> NextRenewal() const;
  bool WaitUnlessStopping(absl::Duration time) ABSL_LOCKS_EXCLUDED(mu_);

  SiteStore* const store_;
  EgressGate* const gate_;
  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_CERTIFICATE_RENEWAL_H_
