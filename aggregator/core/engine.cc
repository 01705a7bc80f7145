#include "aggregator/core/engine.h"

#include <algorithm>
#include <utility>

#include "aggregator/core/evaluation.h"
#include "aggregator/core/federation.h"
#include "aggregator/core/run_lifecycle.h"
#include "aggregator/core/site_links.h"
#include "aggregator/core/update_intake.h"
#include "aggregator/core/version_folding.h"

namespace consilium::federation {
namespace {

// Of one step: most answer an update and grant the next task. One allocation for them all.
constexpr size_t kActionsUsual = 2;

// The journal keeps nanoseconds; what it can not keep must not reach the state.
absl::Time AsRecorded(absl::Time time) { return absl::FromUnixNanos(absl::ToUnixNanos(time)); }

// Which part of the engine takes which input.
struct Dispatch {
  StepContext& step;
  void operator()(const Started&) const { OnStarted(step); }
  void operator()(const SiteAdded& e) const { OnSiteAdded(step, e); }
  void operator()(const SiteRemoved& e) const { OnSiteRemoved(step, e); }
  void operator()(const SiteAttached& e) const { OnSiteAttached(step, e); }
  void operator()(const SiteLost& e) const { OnSiteLost(step, e); }
  void operator()(const LeaseConfirmed& e) const { OnLeaseConfirmed(step, e); }
  void operator()(const RunSubmitted& e) const { OnRunSubmitted(step, e); }
  void operator()(const RunDecided& e) const { OnRunDecided(step, e); }
  void operator()(const StatisticsReported& e) const { OnStatisticsReported(step, e); }
  void operator()(const UpdateStaged& e) const { OnUpdateStaged(step, e); }
  void operator()(const ComputeDone& e) const { OnComputeDone(step, e); }
  void operator()(const EvaluationReported& e) const { OnEvaluationReported(step, e); }
  void operator()(const TimerFired& e) const { OnTimerFired(step, e); }
  void operator()(const StopRequested& e) const { OnStopRequested(step, e); }
  void operator()(const PurgeRequested& e) const { OnPurgeRequested(step, e); }
};

}  // namespace

class FederationEngine::Impl {
 public:
  Federation federation;
};

FederationEngine::FederationEngine() : impl_(std::make_unique<Impl>()) {}
FederationEngine::~FederationEngine() = default;
FederationEngine::FederationEngine(FederationEngine&&) noexcept = default;
FederationEngine& FederationEngine::operator=(FederationEngine&&) noexcept = default;

std::vector<Action> FederationEngine::Step(absl::Time now, const Event& event) {
  Federation& federation = impl_->federation;
  federation.now = std::max(federation.now, AsRecorded(now));
  federation.sequence = federation.sequence.next();
  std::vector<Action> actions;
  actions.reserve(kActionsUsual);
  StepContext step = {federation, actions};
  std::visit(Dispatch{step}, event);
  return actions;
}

Sequence FederationEngine::sequence() const { return impl_->federation.sequence; }

const SiteMap<SiteState>& FederationEngine::sites() const { return impl_->federation.sites; }

const std::map<RunId, RunState>& FederationEngine::runs() const { return impl_->federation.runs; }

Digest FederationEngine::StateDigest() const { return StateDigestOf(impl_->federation); }

}  // namespace consilium::federation
