#include "sim/check/invariants.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregator/core/arrival_groups.h"
#include "aggregator/core/fair_shares.h"
#include "aggregator/core/journal_codec.h"
#include "aggregator/core/strategies/contributions.h"
#include "aggregator/core/strategies/server_optimizer.h"
#include "aggregator/core/task_grants.h"
#include "aggregator/core/validator.h"
#include "models/spec/local_steps.h"

namespace consilium {
namespace {

namespace fed = federation;

constexpr double kTolerance = 1e-9;

std::string Name(const SiteId& site, TaskId task) {
  return absl::StrCat("task ", task.value(), " of ", site.value());
}

Broken CheckCoefficients(const fed::RunState& run, const fed::VersionState& version) {
  const std::string where = absl::StrCat("conservation: version ", version.version.value());
  double sum = 0;
  double shares = 0;
  for (const fed::Contribution& part : version.contributions) {
    double product = 1;
    for (const fed::WeightFactor& factor : part.factors) {
      product *= factor.value;
      if (factor.kind != fed::WeightFactor::Kind::kRobust) continue;
      shares += factor.value;
      if (factor.value < 0) return absl::StrCat(where, " has a negative share");
    }
    if (product != part.coefficient) {
      return absl::StrCat(where, ": a coefficient is not the product of its factors");
    }
    if (!std::isfinite(product)) return absl::StrCat(where, ": a coefficient is not finite");
    sum += fed::InfluenceOf(part);
  }
  if (version.version == Version(0)) return std::nullopt;
  const fed::Stages& stages = run.stages;
  const bool in_coefficients =
      fed::PlaceOfLearningRate(stages.server) == fed::LearningRatePlace::kInCoefficients;
  const double eta = in_coefficients ? version.server_learning_rate : 1;
  const bool is_normalised =
      stages.normalisation == fed::NormalisationStage::kWeights && stages.clip_norm == 0;
  if (is_normalised && std::abs(sum - eta) > kTolerance) {
    return absl::StrCat(where, ": normalised weights add up to ", sum, ", not ", eta);
  }
  if (stages.zeno.has_value()) {
    const bool none_or_one = shares == 0 || std::abs(shares - 1) <= kTolerance;
    return none_or_one ? Broken() : absl::StrCat(where, ": shares add up to ", shares);
  }
  if (!stages.robust.has_value()) return std::nullopt;
  // Buckets that nobody has filled count as no change.
  const bool is_partial = stages.robust->kind == fed::RobustRule::Kind::kBuckets && shares > 0;
  if (shares > 1 + kTolerance || (!is_partial && shares < 1 - kTolerance)) {
    return absl::StrCat(where, ": shares add up to ", shares, ", not one");
  }
  return std::nullopt;
}

Broken CheckVersionHoldsIncluded(const fed::RunState& run, const fed::VersionState& version,
                                 std::set<std::pair<SiteId, TaskId>>& named) {
  for (const fed::Contribution& part : version.contributions) {
    if (part.role != fed::Contribution::Role::kNew) continue;
    const std::string name = Name(part.site, part.task);
    if (!named.emplace(part.site, part.task).second) {
      return absl::StrCat("exactly once: ", name, " is in two versions, or twice in one");
    }
    const fed::TaskState& task = run.participants.at(part.site).tasks.at(part.task);
    if (task.phase != fed::TaskPhase::kIncluded || task.included_in != version.version ||
        task.coefficient != part.coefficient || task.update != part.update) {
      return absl::StrCat("exactly once: version ", version.version.value(), " holds ", name,
                          ", which is told otherwise");
    }
  }
  return std::nullopt;
}

// Members only become fewer where nobody may join late: there were as many as now at least.
Broken CheckSitesMin(const fed::RunState& run, const fed::VersionState& version) {
  const bool may_join = run.plan->config().participation().start_deadline_ms() > 0;
  if (run.stages.trigger != fed::TriggerStage::kBarrier || may_join) return std::nullopt;
  if (version.version == Version(0)) return std::nullopt;
  const auto sites = static_cast<size_t>(
      std::count_if(version.contributions.begin(), version.contributions.end(),
                    [](const auto& part) { return part.role == fed::Contribution::Role::kNew; }));
  if (sites >= std::min<size_t>(run.stages.round_sites_min, run.members.size())) {
    return std::nullopt;
  }
  return absl::StrCat("budget: version ", version.version.value(), " is of ", sites,
                      " sites, fewer than the plan allows");
}

// With ZENO: whether the site waits for the validator, or, being it, for what its update scores.
bool WaitsForScores(const fed::RunState& run, const SiteId& site) {
  if (!run.stages.zeno.has_value()) return false;
  const auto is_accepted = [](const auto& task) {
    return task.second.phase == fed::TaskPhase::kAccepted;
  };
  const auto& tasks = run.participants.at(site).tasks;
  const bool waits = std::any_of(tasks.begin(), tasks.end(), is_accepted);
  return waits && (fed::IsValidator(run, site) || !fed::HasReference(run));
}

bool IsAttached(const fed::FederationEngine& aggregator, const SiteId& site) {
  const auto found = aggregator.sites().find(site);
  return found != aggregator.sites().end() && found->second.link == fed::SiteState::Link::kAttached;
}

// With concurrency: members that were given a task and have neither answered nor passed its
// deadline.
size_t TrainingNow(const fed::RunState& run, absl::Time now) {
  return static_cast<size_t>(
      std::count_if(run.participants.begin(), run.participants.end(), [&](const auto& entry) {
        return !entry.second.open.empty() &&
               now < entry.second.granted_at + run.stages.concurrency->deadline;
      }));
}

// Whether a member that has no task will be given one without having done anything: when its rest
// is over, when the others have delivered, or when it is drawn.
bool MayWait(const fed::FederationEngine& aggregator, const fed::RunState& run, absl::Time now,
             const SiteId& site, const fed::Participant& participant) {
  if (run.stages.concurrency.has_value()) {
    // A deadline that is over at this moment is an event that comes next.
    if (TrainingNow(run, now - absl::Nanoseconds(1)) >= run.stages.concurrency->sites_max) {
      return true;
    }
    if (!IsAttached(aggregator, site)) return true;
  }
  if (participant.fair.rest.has_value()) {
    return run.timers.contains(
        {.run = run.run, .kind = fed::Timer::Kind::kRest, .number = *participant.fair.rest});
  }
  if (WaitsForScores(run, site)) return true;
  switch (run.stages.trigger) {
    case fed::TriggerStage::kBarrier:
      return !run.awaited.contains(site);
    case fed::TriggerStage::kGroups:
      return fed::WaitsForVersion(participant);
    case fed::TriggerStage::kBuffer:
    case fed::TriggerStage::kInterval: {
      const std::optional<size_t> most = fed::WaitingMax(run);
      if (!most.has_value()) return false;
      const auto waiting =
          std::count_if(run.buffer.begin(), run.buffer.end(),
                        [&site](const auto& entry) { return entry.first == site; });
      return static_cast<size_t>(waiting) >= *most;
    }
    case fed::TriggerStage::kBounded:
      return std::any_of(run.members.begin(), run.members.end(), [&](const SiteId& other) {
        return run.participants.at(other).answered < participant.answered;
      });
  }
  return false;
}

Broken CheckOpenTasks(const fed::RunState& run, const SiteId& site,
                      const fed::Participant& participant) {
  if (participant.open.size() > fed::OpenTasksMax(run)) {
    return absl::StrCat("budget: ", site.value(), " has more open tasks than the plan allows");
  }
  const LocalStepsRange steps = LocalStepsOf(run.plan->config());
  for (const TaskId id : participant.open) {
    const fed::TaskState& task = participant.tasks.at(id);
    if (task.phase != fed::TaskPhase::kGranted) {
      return absl::StrCat("budget: ", Name(site, id), " is open and has ended");
    }
    if (task.local_steps < steps.min || task.local_steps > steps.max) {
      return absl::StrCat("budget: ", Name(site, id), " has ", task.local_steps,
                          " local steps, which the plan does not allow");
    }
  }
  return std::nullopt;
}

}  // namespace

Broken CheckLimits(const fed::RunState& run, absl::Time now) {
  if (run.current().value() > run.plan->config().stop().versions_max()) {
    return "budget: more versions than stop.versions_max";
  }
  for (const auto& [site, participant] : run.participants) {
    if (Broken broken = CheckOpenTasks(run, site, participant)) return broken;
  }
  if (run.phase == fed::RunPhase::kRunning && run.stages.concurrency.has_value() &&
      TrainingNow(run, now) > run.stages.concurrency->sites_max) {
    return "budget: more sites train at once than aggregation.concurrency allows";
  }
  return std::nullopt;
}

Broken CheckNobodyIsForgotten(const fed::FederationEngine& aggregator, const fed::RunState& run,
                              absl::Time now) {
  if (run.phase != fed::RunPhase::kRunning) return std::nullopt;
  const auto is_due = [now](const auto& timer) { return timer.second <= now; };
  if (std::any_of(run.timers.begin(), run.timers.end(), is_due)) return std::nullopt;
  for (const SiteId& site : run.members) {
    const fed::Participant& participant = run.participants.at(site);
    if (participant.open.empty() && !MayWait(aggregator, run, now, site, participant)) {
      return absl::StrCat("no starvation: ", site.value(),
                          " has no task, and waits for nothing that would bring it one");
    }
  }
  return std::nullopt;
}

Broken CheckEnd(const fed::RunState& run) {
  if (run.phase != fed::RunPhase::kEnded) return "no starvation: the run has not ended";
  std::set<std::pair<SiteId, TaskId>> named;
  std::map<SiteId, double> influence;
  for (const fed::VersionState& version : run.versions) {
    if (Broken broken = CheckCoefficients(run, version)) return broken;
    if (Broken broken = CheckVersionHoldsIncluded(run, version, named)) return broken;
    if (Broken broken = CheckSitesMin(run, version)) return broken;
    for (const auto& part : version.contributions) influence[part.site] += fed::InfluenceOf(part);
  }
  const v1::UpdateLimits& limits = run.plan->config().aggregation().limits();
  for (const auto& [site, participant] : run.participants) {
    if (std::abs(participant.influence - influence[site]) > kTolerance) {
      return absl::StrCat("conservation: the influence of ", site.value(),
                          " is not the sum of its coefficients");
    }
    for (const auto& [id, task] : participant.tasks) {
      const std::string name = Name(site, id);
      if (task.phase == fed::TaskPhase::kGranted || task.phase == fed::TaskPhase::kAccepted) {
        return absl::StrCat("exactly once: ", name, " has not ended");
      }
      const bool is_included = task.phase == fed::TaskPhase::kIncluded;
      if (is_included && !named.contains({site, id})) {
        return absl::StrCat("exactly once: ", name, " is included in no version");
      }
      if (is_included && limits.update_norm_max() > 0 && task.norm > limits.update_norm_max()) {
        return absl::StrCat("budget: ", name, " is longer than limits.update_norm_max");
      }
    }
  }
  return std::nullopt;
}

Broken CheckReceipts(const fed::RunState& run, const SiteView& view) {
  const auto participant = run.participants.find(view.site);
  if (participant == run.participants.end()) return std::nullopt;
  for (const auto& [id, held] : view.run.tasks) {
    const std::string name = absl::StrCat("receipts: ", Name(view.site, id));
    const auto found = participant->second.tasks.find(id);
    if (found == participant->second.tasks.end()) return absl::StrCat(name, " was never granted");
    const fed::TaskState& task = found->second;
    if (held.acceptance != nullptr &&
        (held.acceptance->sequence() != task.accepted.value() || held.update != task.update)) {
      return absl::StrCat(name, " has an acceptance receipt of something else");
    }
    const bool says_included = held.phase == site::TaskPhase::kIncluded;
    if (says_included && (task.phase != fed::TaskPhase::kIncluded ||
                          held.ending->version() != task.included_in.value() ||
                          held.ending->coefficient() != task.coefficient)) {
      return absl::StrCat(name, " is included at the site, and not so at the aggregator");
    }
    if (held.phase == site::TaskPhase::kNotIncluded && task.phase != fed::TaskPhase::kNotIncluded) {
      return absl::StrCat(name, " is not included at the site, and otherwise at the aggregator");
    }
  }
  return std::nullopt;
}

Broken CheckHeardAll(const fed::RunState& run, const SiteView& view) {
  if (!run.members.contains(view.site) || view.has_left) return std::nullopt;
  if (!view.run.ended()) {
    return absl::StrCat("receipts: ", view.site.value(), " has not heard that the run has ended");
  }
  for (const auto& [id, held] : view.run.tasks) {
    if (held.phase < site::TaskPhase::kIncluded) {
      return absl::StrCat("receipts: ", Name(view.site, id), " still waits for its end");
    }
  }
  return std::nullopt;
}

Folded FoldJournal(const Simulation& simulation, const Recording& recording) {
  Folded folded;
  for (const v1::JournalEntry& entry : recording.entries) {
    v1::JournalEntry read;
    absl::StatusOr<fed::JournalledEvent> input = absl::DataLossError("it can not be parsed");
    if (read.ParseFromString(entry.SerializeAsString())) {
      input = fed::DecodeJournalEntry(std::move(read));
    }
    if (!input.ok()) {
      folded.broken =
          absl::StrCat("durability: input ", entry.sequence(),
                       " does not come back from its bytes: ", input.status().message());
      return folded;
    }
    folded.engine.Step(input->now, input->event);
  }
  if (simulation.IsDurable() &&
      folded.engine.StateDigest() != simulation.aggregator_engine().StateDigest()) {
    folded.broken = "durability: the journal does not lead to the aggregator's state";
  }
  return folded;
}

Broken CheckReplay(const Recording& recording, const ReplayOptions& options) {
  const absl::StatusOr<ReplayResult> replayed = Replay(recording, options);
  if (!replayed.ok()) return absl::StrCat("durability: ", replayed.status().message());
  if (!replayed->mismatches.empty()) {
    return absl::StrCat("durability: replayed, ", replayed->mismatches.front());
  }
  return std::nullopt;
}

}  // namespace consilium
