#include "aggregator/server/arrival_gate.h"

#include <algorithm>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "protocol/core/files.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

using federation::AnnounceModel;
using federation::FederationEngine;
using federation::OfferTask;
using federation::RunState;
using federation::TaskPhase;

const RunState* FindRun(const FederationEngine& engine, const RunId& run) {
  const auto it = engine.runs().find(run);
  return it == engine.runs().end() ? nullptr : &it->second;
}

bool IsOpenGrant(const FederationEngine& engine, const std::tuple<RunId, SiteId, TaskId>& grant) {
  const auto& [run_id, site, task_id] = grant;
  const RunState* run = FindRun(engine, run_id);
  if (run == nullptr) return false;
  const auto participant = run->participants.find(site);
  if (participant == run->participants.end()) return false;
  const auto task = participant->second.tasks.find(task_id);
  return task != participant->second.tasks.end() && task->second.phase == TaskPhase::kGranted;
}

// Each member's own announcement in place of one for all: each has a ceiling of its own.
void TakeApart(const FederationEngine& engine, std::vector<federation::Action>& actions) {
  std::vector<federation::Action> apart;
  for (federation::Action& action : actions) {
    const auto* all = std::get_if<federation::AnnounceToMembers>(&action);
    if (all == nullptr) {
      apart.push_back(std::move(action));
      continue;
    }
    for (const SiteId& site : *all->members) {
      const auto known = engine.sites().find(site);
      const bool is_attached = known != engine.sites().end() &&
                               known->second.link == federation::SiteState::Link::kAttached;
      if (is_attached) apart.emplace_back(AnnouncementTo(site, *all));
    }
  }
  actions = std::move(apart);
}

}  // namespace

absl::StatusOr<ArrivalGate> ArrivalGate::FromFile(const std::string& path) {
  CONSILIUM_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, limits::kTextFileBytesMax));
  std::vector<SiteId> order;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line.front() == '#') continue;
    CONSILIUM_RETURN_IF_ERROR(CheckSiteId(line));
    order.push_back(SiteId(std::string(line)));
  }
  return ArrivalGate(std::move(order));
}

bool ArrivalGate::Admits(const FederationEngine& engine,
                         const federation::UpdateStaged& update) const {
  if (!IsOpenGrant(engine, Grant(update.run, update.site, update.task))) return true;
  if (FindRun(engine, update.run)->pending.has_value()) return false;
  return next_ >= order_.size() || order_[next_] == update.site;
}

void ArrivalGate::BeforeStep(const FederationEngine& engine, const federation::Event& event) {
  turn_.reset();
  const auto* update = std::get_if<federation::UpdateStaged>(&event);
  if (update == nullptr) return;
  const Grant grant(update->run, update->site, update->task);
  if (IsOpenGrant(engine, grant)) turn_ = grant;
}

Version ArrivalGate::CeilingOf(const RunState& run, const SiteId& site) const {
  Version ceiling(std::numeric_limits<uint64_t>::max());
  const auto participant = run.participants.find(site);
  if (participant == run.participants.end()) return ceiling;
  for (const auto& [task, state] : participant->second.tasks) {
    if (state.phase != TaskPhase::kGranted) continue;
    const auto least = least_bases_.find(Grant(run.run, site, task));
    if (least != least_bases_.end()) ceiling = std::min(ceiling, least->second);
  }
  return ceiling;
}

void ArrivalGate::AfterStep(const FederationEngine& engine,
                            std::vector<federation::Action>& actions) {
  if (turn_.has_value() && next_ < order_.size() && !IsOpenGrant(engine, *turn_)) ++next_;
  turn_.reset();
  for (federation::Action& action : actions) {
    auto* offer = std::get_if<OfferTask>(&action);
    if (offer == nullptr) continue;
    const RunState* run = FindRun(engine, offer->run);
    offer->base_min =
        least_bases_.try_emplace(Grant(offer->run, offer->site, offer->task), run->current())
            .first->second;
  }
  TakeApart(engine, actions);
  std::vector<federation::Action> passed;
  std::vector<AnnounceModel> waiting;
  for (AnnounceModel& announcement : withheld_) {
    const RunState& run = *FindRun(engine, announcement.run);
    if (announcement.version <= CeilingOf(run, announcement.site)) {
      passed.push_back(std::move(announcement));
    } else {
      waiting.push_back(std::move(announcement));
    }
  }
  withheld_ = std::move(waiting);
  for (federation::Action& action : actions) {
    auto* announcement = std::get_if<AnnounceModel>(&action);
    if (announcement == nullptr) {
      passed.push_back(std::move(action));
      continue;
    }
    const RunState& run = *FindRun(engine, announcement->run);
    const Version ceiling = CeilingOf(run, announcement->site);
    if (announcement->version <= ceiling) {
      passed.push_back(std::move(action));
      continue;
    }
    // A site that attaches is told of the newest version only, and may need this one.
    AnnounceModel needed = *announcement;
    needed.version = ceiling;
    needed.model_id = run.versions[ceiling.value()].model_id;
    needed.evaluate = v1::SPLIT_UNSPECIFIED;
    passed.push_back(std::move(needed));
    Withhold(std::move(*announcement));
  }
  actions = std::move(passed);
}

void ArrivalGate::Withhold(AnnounceModel announcement) {
  for (AnnounceModel& known : withheld_) {
    if (known.run == announcement.run && known.site == announcement.site &&
        known.version == announcement.version) {
      known = std::move(announcement);
      return;
    }
  }
  withheld_.push_back(std::move(announcement));
}

}  // namespace consilium
