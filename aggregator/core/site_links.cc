#include "aggregator/core/site_links.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "aggregator/core/run_lifecycle.h"
#include "aggregator/core/task_grants.h"
#include "aggregator/core/update_intake.h"
#include "protocol/wire/limits.h"

namespace consilium::federation {
namespace {

constexpr Digest kNoLease = {};

// What an attach meets; REASON_UNSPECIFIED: it is welcome.
v1::Reason ReasonAgainst(const SiteState* site, const SiteAttached& event) {
  if (site == nullptr) return v1::SITE_UNKNOWN;
  if (site->link == SiteState::Link::kRemoved) return v1::SITE_REVOKED;
  const bool known =
      event.lease_presented_hash == site->lease_current ||
      (site->lease_pending != kNoLease && event.lease_presented_hash == site->lease_pending);
  if (!known) return v1::LEASE_FENCED;
  if (site->link == SiteState::Link::kAttached) return v1::LEASE_IN_USE;
  if (event.incarnation < site->incarnation) return v1::INCARNATION_FENCED;
  return v1::REASON_UNSPECIFIED;
}

std::string SentenceFor(v1::Reason reason) {
  switch (reason) {
    case v1::SITE_UNKNOWN:
      return "no site of this name was added to the federation";
    case v1::SITE_REVOKED:
      return "the site was removed from the federation";
    case v1::LEASE_FENCED:
      return "another copy of this site's store has attached since this one last did; only one may";
    case v1::LEASE_IN_USE:
      return "this site has a live stream; if that is not this agent, its store was copied";
    default:
      return "a newer process of this site has attached";
  }
}

// What a site claims to have that this aggregator never gave it: one alarm for all of it, since a
// site may claim thousands of things.
struct Unknown {
  uint64_t count = 0;
  v1::Reason first = v1::REASON_UNSPECIFIED;
  RunId run;
  void Count(v1::Reason reason, const RunId& of) {
    if (count++ > 0) return;
    first = reason;
    run = of;
  }
};

std::string SentenceFor(const Unknown& unknown) {
  std::string sentence = "a site knows a task that was never granted";
  if (unknown.first == v1::RUN_UNKNOWN) {
    sentence = "a site knows a run that this aggregator does not";
  } else if (unknown.first == v1::TASK_CONFLICT) {
    sentence = "a site holds a receipt for an update that was never accepted here";
  }
  if (unknown.count > 1) {
    absl::StrAppend(&sentence, " (and ", unknown.count - 1, " such things more)");
  }
  return sentence + ": was this store restored from a backup?";
}

void Refuse(StepContext& step, const SiteAttached& event, v1::Reason reason) {
  std::string sentence = SentenceFor(reason);
  if (reason == v1::LEASE_FENCED || reason == v1::LEASE_IN_USE) {
    step.Emit(Alarm{reason, event.site, RunId(), sentence});
  }
  step.Emit(RefuseAttach{event.site, event.incarnation, reason, std::move(sentence)});
}

}  // namespace

void OnStarted(StepContext& step) {
  for (auto& [id, site] : step.federation.sites) {
    if (site.link == SiteState::Link::kAttached) site.link = SiteState::Link::kLost;
  }
  for (auto& [id, run] : step.federation.runs) ResumeRun(step, run);
}

void OnSiteAdded(StepContext& step, const SiteAdded& event) {
  const auto found = step.federation.sites.find(event.site);
  if (found == step.federation.sites.end()) {
    if (step.federation.sites.size() >= limits::kSitesMax) {
      step.Emit(Alarm{v1::BUSY, event.site, RunId(), "the federation has its largest size"});
      return;
    }
    step.federation.sites[event.site].lease_current = event.lease_hash;
    return;
  }
  SiteState& site = found->second;
  if (site.link == SiteState::Link::kRemoved) {
    step.Emit(Alarm{v1::SITE_REVOKED, event.site, RunId(), SentenceFor(v1::SITE_REVOKED)});
    return;
  }
  if (site.link != SiteState::Link::kNeverSeen && event.occasion != SiteAdded::Occasion::kAgain) {
    step.Emit(Alarm{v1::LEASE_FENCED, event.site, RunId(),
                    "a site of this name has attached before; a new store needs a new name"});
    return;
  }
  // Its store joins again. Whoever held the old lease is a copy from now on, a live stream too.
  if (site.link == SiteState::Link::kAttached) {
    step.Emit(Detach{event.site, v1::LEASE_FENCED, SentenceFor(v1::LEASE_FENCED)});
    site.link = SiteState::Link::kLost;
  }
  site.lease_current = event.lease_hash;
  site.lease_pending = kNoLease;
  // Of a store that came from a backup it may be an older one, and a copy may have been started
  // more often than the store that goes on.
  site.incarnation = Incarnation();
}

void OnSiteRemoved(StepContext& step, const SiteRemoved& event) {
  const auto found = step.federation.sites.find(event.site);
  if (found == step.federation.sites.end()) {
    step.Emit(Alarm{v1::SITE_UNKNOWN, event.site, RunId(), SentenceFor(v1::SITE_UNKNOWN)});
    return;
  }
  if (found->second.link == SiteState::Link::kRemoved) return;
  if (found->second.link == SiteState::Link::kAttached) {
    step.Emit(Detach{event.site, v1::SITE_REVOKED, SentenceFor(v1::SITE_REVOKED)});
  }
  found->second.link = SiteState::Link::kRemoved;
  for (auto& [id, run] : step.federation.runs) LeaveRun(step, run, event.site, v1::SITE_REVOKED);
}

void OnSiteAttached(StepContext& step, const SiteAttached& event) {
  const auto found = step.federation.sites.find(event.site);
  SiteState* site = found == step.federation.sites.end() ? nullptr : &found->second;
  if (const v1::Reason reason = ReasonAgainst(site, event); reason != v1::REASON_UNSPECIFIED) {
    Refuse(step, event, reason);
    return;
  }
  site->link = SiteState::Link::kAttached;
  site->incarnation = event.incarnation;
  site->lease_current = event.lease_presented_hash;
  site->lease_pending = event.lease_next_hash;
  step.Emit(Welcome{event.site, event.incarnation});
  Unknown unknown;
  for (const SiteAttached::Held& held : event.held_receipts) {
    if (!AnswerHeldReceipt(step, event.site, held)) unknown.Count(v1::TASK_CONFLICT, held.run);
  }
  for (const SiteAttached::Progress& progress : event.runs) {
    const v1::Reason reason = AnswerProgress(step, event.site, progress);
    if (reason != v1::REASON_UNSPECIFIED) unknown.Count(reason, progress.run);
  }
  if (unknown.count > 0) {
    step.Emit(Alarm{unknown.first, event.site, unknown.run, SentenceFor(unknown)});
  }
  for (auto& [id, run] : step.federation.runs) {
    TellRun(step, run, event.site);
    // Free slots wait for a member who attaches; nobody else's coming is a reason to look for one.
    if (run.stages.concurrency.has_value() && run.members.contains(event.site)) {
      GrantTasks(step, run, event.site);
    }
  }
}

void OnSiteLost(StepContext& step, const SiteLost& event) {
  const auto found = step.federation.sites.find(event.site);
  if (found == step.federation.sites.end()) return;
  SiteState& site = found->second;
  if (site.link == SiteState::Link::kAttached && site.incarnation == event.incarnation) {
    site.link = SiteState::Link::kLost;
  }
}

void OnLeaseConfirmed(StepContext& step, const LeaseConfirmed& event) {
  const auto found = step.federation.sites.find(event.site);
  if (found == step.federation.sites.end() || event.lease_hash == kNoLease) return;
  SiteState& site = found->second;
  // A confirmation that is late (of a lease replaced since) or said twice changes nothing.
  if (event.lease_hash != site.lease_pending) return;
  site.lease_current = site.lease_pending;
  site.lease_pending = kNoLease;
}

}  // namespace consilium::federation
