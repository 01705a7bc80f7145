// The agent's connections to the aggregator: the control stream, kept open and opened again when it
// breaks, uploads from the outbox, and downloads of models. What comes in is checked (form, lease,
// signatures, hashes) and posted as events; nothing is decided here.
//
// Threads of its own: control reader, control writer, uploader, downloader. So a large model holds
// up no directive and no receipt.
//
// Ownership: borrows store and gate. Threads: the calls from any; they only queue.

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_LINK_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_LINK_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "consilium/v1/coordination.pb.h"
#include "consilium/v1/run_config.pb.h"
#include "protocol/core/bounded_queue.h"
#include "protocol/core/ids.h"
#include "site_agent/core/actions.h"
#include "site_agent/core/events.h"
#include "site_agent/runtime/egress_gate.h"
#include "site_agent/runtime/lease.h"
#include "site_agent/runtime/site_store.h"

namespace consilium::site {

struct LinkHooks {
  // False where the agent is stopping.
  std::function<bool(Event)> post;
  // Returns once what was posted has been taken.
  std::function<void()> wait_until_taken;
  // Sets incarnation, held receipts and progress. False where the agent is stopping.
  std::function<bool(v1::Hello&)> fill_hello;
  // The aggregator will never take this site as it is (fenced, revoked, certificate expired ...):
  // the agent should end.
  std::function<void(const absl::Status&)> on_refused_for_good;
};

// What a download is checked against.
struct WantedModel {
  RunId run;
  Version version;
  Digest model_id = {};
  uint64_t payload_bytes = 0;
  Digest layout_hash = {};
  Digest standardisation_hash = {};
  std::shared_ptr<const v1::RunPlan> plan;
};

struct LinkState {
  bool attached = false;
  std::string last_error;  // Empty where there was none.
};

class Link {
 public:
  Link(SiteStore* store, EgressGate* gate, SiteIdentity identity, LinkHooks hooks);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  void Start();
  // Ends all calls (through the gate) and joins.
  void Stop();

  // ReceiptReceived or SendFailed follows. Passes agent.receipt_received.
  void Upload(const Send& action);
  // ModelFetched or FetchFailed follows. Passes agent.model_fetched.
  void Download(WantedModel wanted);
  // Sent if the stream is attached; dropped if not, since the engine says it again at attach.
  void Report(v1::SiteEvent event);

  LinkState state() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void RunControl();
  absl::Status AttachOnce();
  absl::Status Greet(ControlStream& stream);
  void Handle(const v1::Directive& directive);
  void SetStream(std::shared_ptr<ControlStream> stream) ABSL_LOCKS_EXCLUDED(mu_);
  std::shared_ptr<ControlStream> AttachedStream() const ABSL_LOCKS_EXCLUDED(mu_);
  void NoteError(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);
  bool WaitUnlessStopping(absl::Duration time) ABSL_LOCKS_EXCLUDED(mu_);
  bool IsStopping() const ABSL_LOCKS_EXCLUDED(mu_);

  void RunWriter();
  void RunUploads();
  absl::StatusOr<v1::Receipt> UploadNow(const Send& action);
  void RunDownloads();
  absl::Status DownloadNow(const WantedModel& wanted);
  absl::Status CheckReceipt(const v1::Receipt& receipt) const;

  SiteStore* const store_;
  EgressGate* const gate_;
  const SiteIdentity identity_;
  const LinkHooks hooks_;
  Lease lease_;  // The control reader's.

  BoundedQueue<v1::SiteEvent> reports_;
  BoundedQueue<Send> uploads_;
  BoundedQueue<WantedModel> downloads_;

  mutable absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  LinkState state_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<ControlStream> stream_ ABSL_GUARDED_BY(mu_);  // Null: not attached.
  std::vector<std::thread> threads_;
};

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_LINK_H_
