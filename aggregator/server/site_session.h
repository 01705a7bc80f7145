// One control stream of a site, apart from how it is carried: what the site says becomes inputs of
// the engine, what the engine says becomes directives. The first message is Hello; nothing else is
// taken before the engine has welcomed the stream.
//
// Ownership: borrows the parts of the server; shares the stream. Threads: OnEvent() and OnEnded()
// by one thread at a time; the rest any.

#ifndef CONSILIUM_AGGREGATOR_SERVER_SITE_SESSION_H_
#define CONSILIUM_AGGREGATOR_SERVER_SITE_SESSION_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "aggregator/server/engine_loop.h"
#include "aggregator/server/input_budget.h"
#include "aggregator/server/links.h"
#include "aggregator/server/run_index.h"
#include "aggregator/server/site_directory.h"
#include "consilium/v1/coordination.pb.h"
#include "protocol/core/clock.h"
#include "protocol/core/executor.h"
#include "protocol/rpc/coordination_service.h"
#include "protocol/rpc/peer_check.h"

namespace consilium {

class SiteSession final : public SiteLink, public std::enable_shared_from_this<SiteSession> {
 public:
  struct Parts {
    EngineLoop& engine;
    LinkTable& links;
    SiteDirectory& directory;
    const RunIndex& runs;
    InputBudget& budget;
    const Clock& clock;
    // For what waits (a disk, a full queue).
    Executor& work;
  };
  SiteSession(const Parts& parts, std::shared_ptr<SiteStream> stream)
      : parts_(parts), peer_(stream->peer()), stream_(std::move(stream)) {}

  // An error ends the stream with it: MALFORMED; WIRE_VERSION; BUSY where the engine's queue is
  // full or the site has used up its allowance; SITE_REVOKED, SITE_UNKNOWN.
  absl::Status OnEvent(const v1::SiteEvent& event);
  // The stream is over, for whatever reason. Once, after the last OnEvent().
  void OnEnded();

  bool Welcome() override ABSL_LOCKS_EXCLUDED(mu_);
  void Send(v1::Directive directive) override;
  void End(const absl::Status& status) override;

 private:
  enum class Stage { kNew, kAttaching, kAttached, kEnded };
  absl::Status OnHello(const v1::Hello& hello) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Post(EngineInput input);
  bool TakesPart(const std::string& run);
  absl::StatusOr<std::optional<federation::Event>> EventOfRun(const v1::SiteEvent& event);

  const Parts parts_;
  const PeerIdentity peer_;
  const std::shared_ptr<SiteStream> stream_;
  bool told_of_unknown_run_ = false;  // Of OnEvent()'s thread.
  absl::Mutex mu_;
  Stage stage_ ABSL_GUARDED_BY(mu_) = Stage::kNew;
  Incarnation incarnation_ ABSL_GUARDED_BY(mu_);
  std::string lease_next_ ABSL_GUARDED_BY(mu_);
  uint32_t wire_version_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_SITE_SESSION_H_
