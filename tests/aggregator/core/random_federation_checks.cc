// What must hold of a random federation, whatever happened to it.

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregator/core/arrival_groups.h"
#include "aggregator/core/fair_shares.h"
#include "aggregator/core/strategies/contributions.h"
#include "aggregator/core/task_grants.h"
#include "aggregator/core/validator.h"
#include "models/spec/preset_traits.h"
#include "tests/aggregator/core/random_federation.h"

namespace consilium::federation {
namespace {

bool WasAccepted(TaskPhase phase) {
  return phase == TaskPhase::kAccepted || phase == TaskPhase::kIncluded ||
         phase == TaskPhase::kNotIncluded;
}

size_t Waiting(const Participant& participant) {
  return static_cast<size_t>(
      std::count_if(participant.tasks.begin(), participant.tasks.end(),
                    [](const auto& task) { return task.second.phase == TaskPhase::kAccepted; }));
}

// With ZENO: whether a site that is not the validator may have fewer open grants than its trigger
// allows, because nothing can be scored.
bool WaitsForReference(const RunState& run, const Participant& participant) {
  return run.stages.zeno.has_value() && !HasReference(run) &&
         participant.open.size() + Waiting(participant) >= OpenTasksMax(run);
}

// Whether the member has as many open grants as its trigger allows.
bool HasItsGrants(const RunState& run, const SiteId& site) {
  const Participant& participant = run.participants.at(site);
  // Who rests, or is above its share, keeps what it was granted before.
  const size_t now = OpenTasksNow(run, participant, OpenTasksMax(run));
  if (now < OpenTasksMax(run)) return participant.open.size() >= now;
  if (run.stages.trigger != TriggerStage::kBarrier) {
    if (IsValidator(run, site)) {
      return participant.open.size() == 1 || (participant.open.empty() && Waiting(participant) > 0);
    }
    if (WaitsForReference(run, participant)) return true;
  }
  switch (run.stages.trigger) {
    case TriggerStage::kBuffer:
    case TriggerStage::kInterval: {
      const std::optional<size_t> most = WaitingMax(run);
      if (!most.has_value()) return participant.open.size() == OpenTasksMax(run);
      size_t waiting = 0;
      for (const auto& [owner, task] : run.buffer) waiting += owner == site ? 1 : 0;
      return participant.open.size() + waiting <= *most &&
             (participant.open.size() == OpenTasksMax(run) ||
              participant.open.size() + waiting == *most);
    }
    case TriggerStage::kBarrier:
      // Where members are drawn, who was late and replaced still has its task.
      if (run.stages.round_sites > 0 && !participant.open.empty()) return true;
      return participant.open.empty() != run.awaited.contains(site);
    case TriggerStage::kGroups:
      return participant.open.empty() == WaitsForVersion(participant);
    case TriggerStage::kBounded:
      break;
  }
  uint64_t slowest = participant.answered;
  for (const SiteId& member : run.members) {
    slowest = std::min(slowest, run.participants.at(member).answered);
  }
  const uint64_t granted = participant.answered + participant.open.size();
  const uint64_t limit = slowest + run.stages.updates_ahead_max;
  // One who left and came back may be ahead of what it could have been granted.
  if (granted > limit) return participant.open.empty();
  return granted == limit || participant.open.size() == OpenTasksMax(run);
}

}  // namespace

// With concurrency, counted by the grants and not by the slots.
void RandomFederation::CheckSlots() {
  const RunState& state = run();
  const ConcurrencyRule& rule = *state.stages.concurrency;
  const absl::Time now = absl::FromUnixNanos(absl::ToUnixNanos(now_));  // As the engine has it.
  size_t training = 0;
  for (const auto& [site, participant] : state.participants) {
    const bool in_time = now < participant.granted_at + rule.deadline;
    if (!participant.open.empty() && in_time) ++training;
  }
  if (training > rule.sites_max) Complain("more members train at once than may");
  for (const auto& [number, site] : state.slots) {
    const Participant& holder = state.participants.at(site);
    if (holder.slot != number) Complain("a slot and its holder differ");
    if (holder.open.empty()) Complain("a slot is held for nothing");
  }
  if (state.slots.size() > rule.sites_max) Complain("there are too many slots");
  if (state.phase != RunPhase::kRunning) {
    if (!state.slots.empty()) Complain("a slot is held in a run that does not run");
    return;
  }
  if (state.slots.size() == rule.sites_max) return;
  for (const SiteId& site : state.members) {
    const bool attached = engine_.sites().find(site)->second.link == SiteState::Link::kAttached;
    if (attached && !HasItsGrants(state, site)) Complain("a slot is free, and a member waits");
  }
}

void RandomFederation::CheckOpenGrants() {
  const auto found = engine_.runs().find(run_id_);
  if (found == engine_.runs().end()) return;
  if (found->second.stages.concurrency.has_value()) CheckSlots();
  for (const auto& [site, participant] : found->second.participants) {
    if (participant.open.size() > OpenTasksMax(found->second)) Complain("too many open grants");
    if (found->second.members.contains(site) && found->second.phase == RunPhase::kRunning) {
      const bool drawn = found->second.stages.concurrency.has_value();
      if (!drawn && !HasItsGrants(found->second, site))
        Complain("a member lacks a grant, or has too many");
    }
    for (const TaskId task : participant.open) {
      if (participant.tasks.at(task).phase != TaskPhase::kGranted) Complain("an open task ended");
    }
    if (found->second.phase != RunPhase::kRunning && !participant.open.empty()) {
      Complain("a grant is open in a run that does not run");
    }
  }
}

// The fold of what was written to the journal, through its bytes, passes through the same states.
void RandomFederation::CheckReplay() {
  FederationEngine replayed;
  for (const JournalledEvent& input : journal_) {
    v1::JournalEntry entry;
    entry.ParseFromString(EncodeJournalEntry(input).SerializeAsString());
    const absl::StatusOr<JournalledEvent> decoded = DecodeJournalEntry(std::move(entry));
    if (!decoded.ok()) return Complain(std::string(decoded.status().message()));
    replayed.Step(decoded->now, decoded->event);
    const auto digest = digests_.find(replayed.sequence().value());
    if (digest != digests_.end() && digest->second != replayed.StateDigest()) {
      return Complain(absl::StrCat("replay differs after input ", digest->first));
    }
  }
}

void RandomFederation::CheckVersion(const VersionState& version) {
  double sum = 0;
  for (const Contribution& entry : version.contributions) {
    double product = 1;
    for (const WeightFactor& factor : entry.factors) product *= factor.value;
    if (product != entry.coefficient) Complain("a coefficient is not the product of its factors");
    if (!std::isfinite(entry.coefficient)) Complain("a coefficient is not finite");
    sum += InfluenceOf(entry);
  }
  const Stages& stages = run().stages;
  const bool normalised =
      stages.normalisation == NormalisationStage::kWeights && stages.clip_norm == 0;
  const double eta = PlaceOfLearningRate(stages.server) == LearningRatePlace::kInCoefficients
                         ? version.server_learning_rate
                         : 1;
  if (version.version > Version(0) && normalised && std::abs(sum - eta) > 1e-9) {
    Complain(absl::StrCat("normalised weights add up to ", sum, ", not ", eta));
  }
}

// A robust rule gives each update a share of 0 or more, and all together one.
void RandomFederation::CheckShares(const VersionState& version) {
  const Stages& stages = run().stages;
  const bool shared = stages.robust.has_value() || stages.zeno.has_value();
  if (!shared || version.version == Version(0)) return;
  double sum = 0;
  for (const Contribution& entry : version.contributions) {
    for (const WeightFactor& factor : entry.factors) {
      if (factor.kind != WeightFactor::Kind::kRobust) continue;
      if (factor.value < 0) Complain("a share is negative");
      sum += factor.value;
    }
  }
  // Buckets that nobody has filled count as no change.
  const bool partial = stages.zeno.has_value()
                           ? sum == 0
                           : stages.robust->kind == RobustRule::Kind::kBuckets && sum > 0;
  if (sum > 1 + 1e-9 || (!partial && sum < 1 - 1e-9)) Complain("shares do not add up to one");
}

void RandomFederation::CheckEnd() {
  const RunState& state = run();
  if (state.phase != RunPhase::kEnded && state.phase != RunPhase::kPurged) {
    return Complain(absl::StrCat("the run has not ended on a fair schedule; phase ",
                                 static_cast<int>(state.phase), ", version ",
                                 state.current().value()));
  }
  if (state.why_ended.empty()) Complain("nobody knows why the run ended");
  // Versions name exactly the included ones, once each.
  std::set<std::pair<SiteId, TaskId>> folded;
  std::map<SiteId, double> influence;
  for (const VersionState& version : state.versions) {
    CheckVersion(version);
    CheckShares(version);
    for (const Contribution& entry : version.contributions) {
      influence[entry.site] += InfluenceOf(entry);
      if (entry.role != Contribution::Role::kNew) continue;
      if (!folded.emplace(entry.site, entry.task).second) Complain("an update is folded twice");
      const TaskState& task = state.participants.at(entry.site).tasks.at(entry.task);
      if (task.phase != TaskPhase::kIncluded || task.included_in != version.version ||
          task.coefficient != entry.coefficient || task.update != entry.update) {
        Complain("a version holds what is not included");
      }
    }
  }
  for (const auto& [site, participant] : state.participants) {
    if (std::abs(participant.influence - influence[site]) > 1e-9) Complain("influence is wrong");
    for (const auto& [id, task] : participant.tasks) {
      const std::string name = absl::StrCat(site.value(), "/", id.value());
      if (task.phase == TaskPhase::kGranted || task.phase == TaskPhase::kAccepted) {
        Complain(absl::StrCat(name, " has not ended"));
      }
      if (task.phase == TaskPhase::kIncluded && !folded.contains({site, id})) {
        Complain(absl::StrCat(name, " is in no version"));
      }
      const bool told = acceptances_.contains({site, id});
      if (told != WasAccepted(task.phase))
        Complain(absl::StrCat(name, ": receipt and state differ"));
    }
  }
  // Every acceptance receipt that a site holds has ended, in the way that the state says.
  for (const auto& [id, site] : sites_) {
    for (const auto& [task_id, task] : site.tasks) {
      if (!task.accepted) continue;
      const TaskPhase phase = state.participants.at(id).tasks.at(task_id).phase;
      const bool good =
          site.removed || site.gone ||
          (task.end == FakeSite::Task::End::kIncluded && phase == TaskPhase::kIncluded) ||
          (task.end == FakeSite::Task::End::kNotIncluded && phase == TaskPhase::kNotIncluded);
      if (!good) Complain(absl::StrCat(id.value(), "/", task_id.value(), " has a wrong end"));
    }
  }
  CheckReplay();
}

}  // namespace consilium::federation
