// The federation's decisions, as one deterministic state machine. It owns no thread, socket, file,
// clock or random device, and no vectors: only their names.
//
//   state = fold(Step, journal)
//
// so a crash is recovered by feeding the journal to a fresh engine and dropping the actions, then
// stepping Started; a real federation replays in the simulator the same way.
//
// Ownership: holds its state by value. Threads: one at a time (the server's engine thread).

#ifndef CONSILIUM_AGGREGATOR_CORE_ENGINE_H_
#define CONSILIUM_AGGREGATOR_CORE_ENGINE_H_

#include <map>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "aggregator/core/actions.h"
#include "aggregator/core/events.h"
#include "aggregator/core/run_state.h"
#include "aggregator/core/site_state.h"
#include "protocol/core/ids.h"

namespace consilium::federation {

class FederationEngine {
 public:
  FederationEngine();
  ~FederationEngine();
  FederationEngine(FederationEngine&&) noexcept;
  FederationEngine& operator=(FederationEngine&&) noexcept;

  // Takes one input; `now` never goes back (an earlier one is taken as the latest seen). Never
  // fails: what an input may not do becomes a RefuseUpdate, RefuseAttach or Alarm. Increments
  // sequence() by one.
  std::vector<Action> Step(absl::Time now, const Event& event);

  // Of the last input taken; 0 before the first.
  Sequence sequence() const;

  // Views for receipts, status, reports and tests. Valid until the next Step.
  const SiteMap<SiteState>& sites() const;
  const std::map<RunId, RunState>& runs() const;

  // Canonical digest of the whole state: equal engines have equal digests.
  Digest StateDigest() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_ENGINE_H_
