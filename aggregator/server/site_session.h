// One control stream of a site, apart from how it is carried: what the site says becomes inputs of
// the engine, what the engine says becomes directives. The first message is Hello; nothing else is
// taken before the engine has welcomed the stream.
//
// Ownership: borrows the parts of the server; shares the stream. Threads: OnEvent() and OnEnded()
// by one thread at a time; the rest any.

#ifndef CONSILIUM_AGGREGATOR_SERVER_SITE_SESSION_H_
#define CONSILIUM_AGGREGATOR_SERVER_SITE_SESSION_H_

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "aggregator/server/engine_loop.h"
#include "aggregator/server/evaluation_claims.h"
#include "aggregator/server/input_budget.h"
#include "aggregator/server/links.h"
#include "aggregator/server/run_index.h"
#include "aggregator/server/site_directory.h"
#include "aggregator/server/site_notes.h"
#include "consilium/v1/coordination.pb.h"
#include "protocol/core/clock.h"
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
    EvaluationClaims& claims;
    SiteNotes& notes;
    const Clock& clock;
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
  absl::Status OnLeaseConfirm(const v1::LeaseConfirm& confirm) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status OnDecision(const v1::RunDecision& decision, const RunIndex::Facts& run);
  absl::Status OnStatistics(const v1::StatisticsReport& report, const RunIndex::Facts& run);
  absl::Status OnEvaluation(const v1::EvaluationReport& report, const RunIndex::Facts& run);
  absl::Status Post(federation::Event event, size_t bytes);
  absl::Status Charge(size_t bytes);
  // A message that says nothing to the engine: the first of its kind on this stream is told.
  void Drop(v1::Reason reason, absl::string_view what);

  const Parts parts_;
  const PeerIdentity peer_;
  const std::shared_ptr<SiteStream> stream_;
  // Of OnEvent()'s thread. How often the site has decided about a run and sent its statistics.
  struct Said {
    int decisions = 0;
    int statistics = 0;
  };
  std::map<RunId, Said> said_;  // Of runs that were offered to it.
  bool lease_confirmed_ = false;
  std::set<v1::Reason> dropped_;
  absl::Mutex mu_;
  Stage stage_ ABSL_GUARDED_BY(mu_) = Stage::kNew;
  Incarnation incarnation_ ABSL_GUARDED_BY(mu_);
  std::string lease_next_ ABSL_GUARDED_BY(mu_);
  std::string software_version_ ABSL_GUARDED_BY(mu_);
  uint32_t wire_version_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_SITE_SESSION_H_
