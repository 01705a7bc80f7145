// The one place from which anything leaves the hospital. It alone holds channels; whatever goes out
// is of a kind on its list, passes that kind's rule (release_rules.h), and is recorded in the
// site's hash-chained journal, with its size and digest, before its first byte is sent.
//
// Ownership: borrows the store. Streams must die before their gate. Threads: any; calls block.

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_EGRESS_GATE_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_EGRESS_GATE_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "consilium/v1/coordination.grpc.pb.h"
#include "consilium/v1/enrolment.grpc.pb.h"
#include "consilium/v1/transfer.pb.h"
#include "privacy/at_rest/sealed_blob.h"
#include "protocol/core/ids.h"
#include "protocol/rpc/transfer_client.h"
#include "site_agent/core/release_rules.h"
#include "site_agent/runtime/site_store.h"

namespace consilium::site {

struct ReleaseTotals {
  uint64_t releases = 0;
  uint64_t bytes = 0;
};

struct EgressOptions {
  // How soon a renewed certificate is taken into use.
  absl::Duration certificate_reload_interval = absl::Seconds(30);
};

class EgressGate;

// A live control stream. Send() and Cancel() from any thread, Read() from one.
class ControlStream {
 public:
  ~ControlStream();
  ControlStream(const ControlStream&) = delete;
  ControlStream& operator=(const ControlStream&) = delete;

  // FAILED_PRECONDITION where the gate holds it back; UNAVAILABLE where the stream has ended.
  absl::Status Send(v1::SiteEvent event) ABSL_LOCKS_EXCLUDED(write_mu_);

  // The next directive. An error says why the stream has ended; nothing follows it.
  absl::StatusOr<v1::Directive> Read();

  // Ends it; a blocked Read() returns.
  void Cancel();

 private:
  friend class EgressGate;
  explicit ControlStream(EgressGate* gate) : gate_(gate) {}

  EgressGate* const gate_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::SiteEvent, v1::Directive>> stream_;
  absl::Mutex write_mu_;
  bool finished_ = false;
};

class EgressGate {
 public:
  // Channels to the aggregator of `identity`, with the certificate in the store; connects when
  // first used. The minimum count is the store's, as it is now. FAILED_PRECONDITION where the
  // certificate can not be used, with the reason.
  static absl::StatusOr<std::unique_ptr<EgressGate>> Open(SiteStore* store,
                                                          const SiteIdentity& identity,
                                                          const EgressOptions& options);
  ~EgressGate();
  EgressGate(const EgressGate&) = delete;
  EgressGate& operator=(const EgressGate&) = delete;

  // Opens the control stream. Where there is no connection its error comes back, so that a site
  // whose aggregator is down records no releases. CANCELLED after Shutdown().
  absl::StatusOr<std::shared_ptr<ControlStream>> Attach();

  // Uploads one update; passes the failpoints agent.before_send and agent.mid_send. Refusals come
  // back with their ErrorDetail.
  absl::StatusOr<v1::Receipt> Submit(const v1::UpdateHeader& header, SealedBlobReader payload);

  // Downloads one model into `sink` (protocol/rpc/transfer_client.h). `payload_bytes` is what was
  // announced, and sets how long the call may take.
  absl::Status Fetch(const v1::FetchRequest& request, uint64_t payload_bytes, ModelSink& sink);

  absl::StatusOr<v1::RenewResponse> Renew(const v1::RenewRequest& request);

  // Joins a federation, before there is an identity: over TLS that trusts `join`'s root alone.
  static absl::StatusOr<v1::EnrolResponse> Enrol(SiteStore* store, const v1::JoinFile& join,
                                                 const v1::EnrolRequest& request);

  // Ends all calls and refuses new ones.
  void Shutdown() ABSL_LOCKS_EXCLUDED(mu_);

  std::map<ReleaseKind, ReleaseTotals> totals() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class ControlStream;
  class LiveCall;

  EgressGate(SiteStore* store, SiteId site, uint64_t minimum_count)
      : store_(store), site_(std::move(site)), minimum_count_(minimum_count) {}

  struct Release {
    ReleaseKind kind = ReleaseKind::kHello;
    uint64_t bytes = 0;
    Digest digest = {};
    absl::string_view run_id;
  };
  static absl::Status Record(SiteStore* store, const Release& release);
  absl::Status Admit(const Release& release) ABSL_LOCKS_EXCLUDED(mu_);
  // Registers a call for Shutdown(). CANCELLED after it.
  absl::Status Enter(const void* call, std::function<void()> cancel) ABSL_LOCKS_EXCLUDED(mu_);
  void Leave(const void* call) ABSL_LOCKS_EXCLUDED(mu_);

  // Waits until the control channel is connected, or can not be.
  bool IsConnected() ABSL_LOCKS_EXCLUDED(mu_);
  bool IsClosed() const ABSL_LOCKS_EXCLUDED(mu_);

  SiteStore* const store_;
  const SiteId site_;
  const uint64_t minimum_count_;
  std::unique_ptr<v1::Coordination::Stub> coordination_;
  std::unique_ptr<v1::Renewal::Stub> renewal_;
  std::shared_ptr<grpc::Channel> control_;
  std::shared_ptr<grpc::Channel> bulk_;

  mutable absl::Mutex mu_;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  std::map<const void*, std::function<void()>> live_ ABSL_GUARDED_BY(mu_);
  std::map<ReleaseKind, ReleaseTotals> totals_ ABSL_GUARDED_BY(mu_);
};

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_EGRESS_GATE_H_
