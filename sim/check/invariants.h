// What must hold of every federation, whatever happens to it: every update ends once, and in one
// way that aggregator and site agree on; weights add up; nobody holds what the journal does not
// tell; nobody is forgotten; limits are kept. Each function gives the first thing that is not so,
// in words that begin with the invariant's name and a colon, or nothing.
//
// Threads: any.

#ifndef CONSILIUM_SIM_CHECK_INVARIANTS_H_
#define CONSILIUM_SIM_CHECK_INVARIANTS_H_

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "aggregator/core/engine.h"
#include "aggregator/core/run_state.h"
#include "sim/engine/recording.h"
#include "sim/engine/replay.h"
#include "sim/engine/simulation.h"
#include "site_agent/core/run_state.h"

namespace consilium {

using Broken = std::optional<std::string>;

// ---- Between two events

// "budget": no more versions, open tasks, local steps or sites that train at once than the plan
// allows.
Broken CheckLimits(const federation::RunState& run, absl::Time now);
// "no starvation": a member without a task waits for something that comes. The run is one of
// `aggregator`, whose inputs are all durable: else a timer that it waits for may not be set yet.
// Nothing is said while a timer is due.
Broken CheckNobodyIsForgotten(const federation::FederationEngine& aggregator,
                              const federation::RunState& run, absl::Time now);

// ---- Of an ended run

// "exactly once": an update is in one version if it is included, and in none else; none is left
// without an end. "conservation": coefficients are the product of their factors, normalised ones
// add up to the server's rate, robust shares to one, and a site's influence is the sum of its
// coefficients. "budget": no included update is longer than the plan allows.
Broken CheckEnd(const federation::RunState& run);

// ---- Of a site

struct SiteView {
  const SiteId& site;
  const site::RunState& run;
  // It hears nothing more, and need not.
  bool has_left = false;
};
// "receipts": what the site holds, the aggregator knows, in the same words. At any time.
Broken CheckReceipts(const federation::RunState& run, const SiteView& view);
// "receipts": who is still there when the run has ended knows it, and waits for no task's end.
Broken CheckHeardAll(const federation::RunState& run, const SiteView& view);

// ---- Of the journal

// "durability": what the journal's bytes alone lead to is the aggregator's state, once all its
// inputs are durable. Where it is not, or an input does not come back from its bytes, `broken` is
// set.
struct Folded {
  federation::FederationEngine engine;
  Broken broken;
};
Folded FoldJournal(const Simulation& simulation, const Recording& recording);

// "durability", of a run that has ended: the models, too, follow from the journal and the updates,
// or where `options` has data and trainer, from the journal and the sites' patients.
Broken CheckReplay(const Recording& recording, const ReplayOptions& options);

}  // namespace consilium

#endif  // CONSILIUM_SIM_CHECK_INVARIANTS_H_
