// Sites coming and going: enrolment, the lease that fences a copied store, removal, and what a
// site is told when it attaches.
//
// Threads: the engine's.

#ifndef CONSILIUM_AGGREGATOR_CORE_SITE_LINKS_H_
#define CONSILIUM_AGGREGATOR_CORE_SITE_LINKS_H_

#include "aggregator/core/events.h"
#include "aggregator/core/federation.h"

namespace consilium::federation {

// Forgets live streams; asks again for programs and timers that were not answered.
void OnStarted(StepContext& step);
// A site that never attached may be added again: its first join token was lost. Alarm where the
// site has attached or was removed (an id is never used twice), or there are too many sites.
void OnSiteAdded(StepContext& step, const SiteAdded& event);
// Leaves every run: open grants are withdrawn, buffered updates end NOT_INCLUDED, its table
// entries count no more.
void OnSiteRemoved(StepContext& step, const SiteRemoved& event);
// RefuseAttach: SITE_UNKNOWN, SITE_REVOKED, LEASE_FENCED (alarm), LEASE_IN_USE (alarm),
// INCARNATION_FENCED. Otherwise Welcome, and everything the site must know again.
void OnSiteAttached(StepContext& step, const SiteAttached& event);
void OnSiteLost(StepContext& step, const SiteLost& event);
void OnLeaseConfirmed(StepContext& step, const LeaseConfirmed& event);

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_SITE_LINKS_H_
