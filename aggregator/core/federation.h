// The whole state of the engine, and one step on it: what the parts of the engine work on. Each
// part is a header of functions `On…(StepContext&, const Event&)`; engine.cc dispatches.
//
// Ownership: Federation holds values; StepContext borrows for the length of one step.
// Threads: the engine's.

#ifndef CONSILIUM_AGGREGATOR_CORE_FEDERATION_H_
#define CONSILIUM_AGGREGATOR_CORE_FEDERATION_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "aggregator/core/actions.h"
#include "aggregator/core/run_state.h"
#include "aggregator/core/site_map.h"
#include "aggregator/core/site_state.h"
#include "protocol/core/ids.h"

namespace consilium::federation {

struct Federation {
  SiteMap<SiteState> sites;
  std::map<RunId, RunState> runs;
  Sequence sequence;  // Of the last input taken.
  absl::Time now = absl::UnixEpoch();
};

// Canonical digest of all of it: equal states have equal digests.
Digest StateDigestOf(const Federation& federation);

struct StepContext {
  Federation& federation;
  std::vector<Action>& actions;

  template <typename A>
  void Emit(A action) {
    actions.emplace_back(std::in_place_type<A>, std::move(action));
  }

  absl::Time now() const { return federation.now; }
  Sequence sequence() const { return federation.sequence; }

  bool IsAttached(const SiteId& site) const {
    const auto found = federation.sites.find(site);
    return found != federation.sites.end() && found->second.link == SiteState::Link::kAttached;
  }

  // Nullptr where there is none.
  RunState* FindRun(const RunId& run) {
    const auto found = federation.runs.find(run);
    return found == federation.runs.end() ? nullptr : &found->second;
  }

  void Arm(RunState& run, Timer::Kind kind, uint64_t number, absl::Time at) {
    Timer timer = {.run = run.run, .kind = kind, .number = number};
    run.timers[timer] = at;
    Emit(SetTimer{std::move(timer), at});
  }
};

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_FEDERATION_H_
