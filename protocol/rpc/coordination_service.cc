#include "protocol/rpc/coordination_service.h"

#include <deque>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "protocol/core/status_macros.h"
#include "protocol/rpc/peer_identity.h"
#include "protocol/rpc/rpc_status.h"
#include "protocol/rpc/stream_registry.h"
#include "protocol/wire/reasons.h"

namespace consilium {

struct CoordinationService::Shared {
  Shared(CoordinationHandler* handler_in, CoordinationLimits limits_in)
      : handler(handler_in),
        limits(limits_in),
        streams({limits_in.streams_max, limits_in.streams_per_site_max, absl::Seconds(5)}) {}

  CoordinationHandler* const handler;
  const CoordinationLimits limits;
  StreamRegistry streams;
};

// Lives by shared pointers: gRPC's (self_, until OnDone) and those that handlers keep.
class CoordinationService::AttachCall final
    : public grpc::ServerBidiReactor<v1::SiteEvent, v1::Directive>,
      public SiteStream,
      public StreamRegistry::Stream,
      public std::enable_shared_from_this<AttachCall> {
 public:
  AttachCall(std::shared_ptr<Shared> shared, grpc::CallbackServerContext* context)
      : shared_(std::move(shared)), context_(context) {}

  void Begin() {
    self_ = shared_from_this();
    if (const absl::Status status = Accept(); !status.ok()) return End(status);
    shared_->streams.SetDeadline(this, absl::Now() + shared_->limits.hello_timeout,
                                 Refusal(v1::MALFORMED, "no Hello came"));
    StartSendInitialMetadata();
    StartRead(&event_);
  }

  // Of SiteStream.
  const PeerIdentity& peer() const override { return peer_; }

  bool Send(v1::Directive directive) override ABSL_LOCKS_EXCLUDED(mu_) {
    {
      absl::MutexLock lock(&mu_);
      if (closing_.has_value()) return false;
      if (queue_.size() < shared_->limits.directive_queue_max) {
        queue_.push_back(std::move(directive));
        if (queue_.size() == 1) StartWrite(&queue_.front());
        return true;
      }
    }
    End(Refusal(v1::BUSY, "the site does not read what it is told: too many directives wait"));
    return false;
  }

  void Close(const absl::Status& status) override {
    if (!status.ok()) return End(status);
    // A site that does not read could put off the end for as long as it likes.
    shared_->streams.SetDeadline(this, absl::Now() + shared_->limits.hello_timeout,
                                 absl::CancelledError("the site did not read to the end"));
    absl::MutexLock lock(&mu_);
    if (closing_.has_value()) return;
    closing_ = status;
    if (queue_.empty()) FinishLocked();
  }

  // Of StreamRegistry, and for all that ends in an error. Without the cancellation, a status would
  // wait behind directives that the site does not read; where none are under way it is not needed,
  // and the site gets the status.
  void End(const absl::Status& why) override ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    if (finished_) return;
    closing_ = why;
    const bool writing = !queue_.empty();
    FinishLocked();
    if (writing) context_->TryCancel();
  }

  // Of gRPC.
  void OnReadDone(bool ok) override {
    if (!ok) return End(absl::CancelledError("the site is gone"));
    if (const absl::Status status = Take(); !status.ok()) return End(status);
    absl::MutexLock lock(&mu_);
    if (!closing_.has_value()) StartRead(&event_);
  }
  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mu_);
    queue_.pop_front();
    if (!ok) queue_.clear();
    if (finished_) return;
    if (!queue_.empty()) return StartWrite(&queue_.front());
    if (closing_.has_value()) FinishLocked();
  }
  void OnCancel() override { End(absl::CancelledError("the site is gone")); }
  void OnDone() override {
    std::shared_ptr<AttachCall> self;
    absl::Status why;
    {
      absl::MutexLock lock(&mu_);
      self = std::move(self_);
      why = closing_.value_or(absl::CancelledError("the site is gone"));
      queue_.clear();
    }
    shared_->streams.Leave(this);
    if (greeted_) shared_->handler->OnDetach(self, why);
  }

 private:
  absl::Status Accept() {
    CONSILIUM_ASSIGN_OR_RETURN(peer_, IdentifySite(*context_));
    CONSILIUM_RETURN_IF_ERROR(shared_->handler->Admit(peer_));
    return shared_->streams.Enter(this, peer_.site());
  }

  absl::Status Take() {
    if (event_.event_case() == v1::SiteEvent::EVENT_NOT_SET) {
      return Refusal(v1::MALFORMED, "an event of no kind that is known here");
    }
    const bool is_hello = event_.has_hello();
    if (is_hello == greeted_) {
      return Refusal(v1::MALFORMED, greeted_ ? "a second Hello" : "the first event is not Hello");
    }
    if (is_hello) {
      greeted_ = true;
      shared_->streams.ClearDeadline(this);
    }
    return shared_->handler->OnEvent(self_, std::move(event_));
  }

  void FinishLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (finished_) return;
    finished_ = true;
    Finish(ToGrpcStatus(*closing_));
  }

  const std::shared_ptr<Shared> shared_;
  grpc::CallbackServerContext* const context_;
  std::shared_ptr<AttachCall> self_;
  PeerIdentity peer_;

  // Of gRPC's reading, one call after another.
  v1::SiteEvent event_;
  bool greeted_ = false;

  absl::Mutex mu_;
  // The front is being written.
  std::deque<v1::Directive> queue_ ABSL_GUARDED_BY(mu_);
  // What the stream is to end with, once that is decided; nothing is queued any more then.
  std::optional<absl::Status> closing_ ABSL_GUARDED_BY(mu_);
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
};

CoordinationService::CoordinationService(CoordinationHandler* handler, CoordinationLimits limits)
    : shared_(std::make_shared<Shared>(handler, limits)) {}

CoordinationService::~CoordinationService() = default;

void CoordinationService::Disconnect(const SiteId& site, const absl::Status& why) {
  shared_->streams.EndAllOf(site, why);
}

grpc::ServerBidiReactor<v1::SiteEvent, v1::Directive>* CoordinationService::Attach(
    grpc::CallbackServerContext* context) {
  const auto call = std::make_shared<AttachCall>(shared_, context);
  call->Begin();
  return call.get();
}

}  // namespace consilium
