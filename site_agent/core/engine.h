// An agent's decisions, as one deterministic state machine: what to fetch, train, send and report,
// and when. It owns no thread, socket, file, clock or random device.
//
//   state = fold(Step, journal)
//
// A crash is recovered by feeding the journal to a fresh engine, dropping the actions, and
// stepping Started: what lies in the outbox is sent again, never trained again.
//
// Ownership: holds its state by value. Threads: one at a time.

#ifndef CONSILIUM_SITE_AGENT_CORE_ENGINE_H_
#define CONSILIUM_SITE_AGENT_CORE_ENGINE_H_

#include <map>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "protocol/core/ids.h"
#include "site_agent/core/actions.h"
#include "site_agent/core/events.h"
#include "site_agent/core/run_state.h"
#include "site_agent/core/site_options.h"

namespace consilium::site {

class SiteEngine {
 public:
  SiteEngine(SiteId site, SiteOptions options);
  ~SiteEngine();
  SiteEngine(SiteEngine&&) noexcept;
  SiteEngine& operator=(SiteEngine&&) noexcept;

  // Takes one input; `now` never goes back (an earlier one is taken as the latest seen) and counts
  // to the nanosecond, as the journal keeps it. Never fails: what an input may not do is left out,
  // with an Alarm where a person should know. Increments sequence() by one.
  std::vector<Action> Step(absl::Time now, const Event& event);

  // Whether the offer is of a run that is not known here, and would be. The engine has no use for
  // the plan of any other offer.
  bool WouldLookAt(const RunOffered& event) const;

  // Of the last input taken; 0 before the first.
  Sequence sequence() const;
  // Valid until the next Step.
  const std::map<RunId, RunState>& runs() const;

  // Whether the engine will name this blob of the outbox, or this model, again. What it will not,
  // and a crash kept from being dropped, the shell removes after a restart.
  bool NeedsUpdate(const Digest& update) const;
  bool NeedsModel(const RunId& run, Version version) const;
  // Whether what was kept with the update will be named again.
  bool NeedsKept(const Digest& update) const;

  // What the next Hello tells besides incarnation and leases; at most limits::kHeldReceiptsMax,
  // oldest first.
  std::vector<v1::HeldReceipt> HeldReceipts() const;
  std::vector<v1::RunProgress> Progress() const;

  // Canonical digest of the whole state: equal engines have equal digests.
  Digest StateDigest() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_CORE_ENGINE_H_
