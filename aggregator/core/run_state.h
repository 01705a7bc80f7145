// One run as the aggregator knows it: read by reports, status and receipts; written by the engine
// alone. docs/adr/0001-lifecycle.md has the state table.
//
// Ownership: values. Threads: the engine's.

#ifndef CONSILIUM_AGGREGATOR_CORE_RUN_STATE_H_
#define CONSILIUM_AGGREGATOR_CORE_RUN_STATE_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "aggregator/core/events.h"
#include "aggregator/core/site_map.h"
#include "aggregator/core/strategies/stages.h"
#include "consilium/v1/coordination.pb.h"
#include "consilium/v1/run_config.pb.h"
#include "protocol/core/ids.h"

namespace consilium::federation {

enum class RunPhase : uint8_t {
  kOffered,  // Sites decide and send their statistics.
  kDrawing,  // Version 0 is being made.
  kRunning,
  kClosingValidation,  // The stopping version committed; its evaluations are awaited.
  kClosingTest,        // The result version is chosen; its test evaluations are awaited.
  kEnded,
  kPurged,  // Ended, and its vectors are gone.
};

enum class TaskPhase : uint8_t {
  kGranted,      // The site may train it.
  kAccepted,     // Durable and admitted; waits to be folded.
  kIncluded,     // In a committed version. Terminal, as are all below.
  kNotIncluded,  // The run ended first.
  kRefused,      // Its update was refused for good.
  kWithdrawn,    // Granted, and the run or round ended before an update came.
};

// One factor of an update's coefficient, in the order of multiplication.
struct WeightFactor {
  enum class Kind : uint8_t {
    kSize,            // n_i or p_i.
    kStaleness,       // s(τ), or what a dialect makes of it.
    kRateCorrection,  // min(1/r̂_i, cap/p_i)
    // 1/K, 1/Σ weights, 1/N, 1, 1/N − m_i/M (negative where a difference is larger); of FedNova
    // the weighted mean of local steps over Σ weights.
    kNormalisation,
    kMixing,      // α of FedAsync.
    kServerStep,  // η of this step, where it is plain SGD.
    kReplaced,    // 0: a later update of its site in the same batch took its place.
    kExpired,     // 0: too old for the table when it came.
    kLocalSteps,  // 1/τ_i, the inverse of its local steps.
    kClip,        // min(1, clip_norm/‖Δ‖)
    kBandClip,    // The same by the batch's median norm (strategies/robust_combine.h).
    kRobust,      // Its share by a robust rule, 0 where it is not believed; or nominal.
    // The plan's local steps over its task's, where a fairness contract made the task shorter: what
    // makes a whole update of it. No influence.
    kShorterTask,
    // ‖v‖/‖Δ‖ of an update that ZENO lets count: as long as the validator's. No influence.
    kRescale,
    kValidator,  // 0: the validator's own, by which the others are scored.
  };
  Kind kind = Kind::kSize;
  double value = 1;
};

struct TaskState {
  TaskPhase phase = TaskPhase::kGranted;
  Version base_min;
  uint32_t local_steps = 0;
  // From kAccepted on:
  Digest update = {};
  Sequence accepted;
  Version base;
  uint64_t examples = 0;
  uint32_t steps = 0;
  double training_loss = 0;
  double norm = 0;
  uint64_t staleness = 0;  // Versions behind when it was accepted.
  // Terminal phases: the input that ended it.
  Sequence ended;
  // kIncluded:
  Version included_in;
  double coefficient = 0;
  // kRefused, kWithdrawn: what a late update is told.
  v1::Reason reason = v1::REASON_UNSPECIFIED;
};

// A participant before the fairness contract (fair_shares.h).
struct FairShare {
  Version since;         // It has been a member of the versions after this one.
  double influence = 0;  // In the versions of the window.
  uint64_t updates = 0;  // Of it that were folded in the window.
  double deviation = 0;  // Its part over what its patients are worth, less one; −1: no part.
  // What was due to it in the window, less its influence; and what is due of a mean version.
  double lacking = 0;
  double of_a_version = 0;
  // Whether more of the folded updates are of it than of the patients.
  enum class Rate : uint8_t { kUsual, kOften } rate = Rate::kUsual;
  std::optional<absl::Duration> worked;  // From the newest grant to the last answer.
  std::optional<uint64_t> rest;          // The number of its timer, while it rests.
  std::optional<Version> broken_since;   // In each version since.
  std::optional<Version> told;           // The last alarm.
};

// A site in this run.
struct Participant {
  enum class Decision : uint8_t { kPending, kApproved, kRefused } decision = Decision::kPending;
  v1::Reason refusal_reason = v1::REASON_UNSPECIFIED;
  uint64_t train_examples = 0;  // n_i
  std::shared_ptr<const v1::StatisticsReport> statistics;
  std::map<TaskId, TaskState> tasks;
  std::vector<TaskId> open;  // Those in kGranted, oldest first.
  TaskId newest_task;
  // The entry of the table of latest updates.
  std::optional<TaskId> latest_folded;
  // Ages in versions that earlier entries had reached when they were replaced; newest last.
  std::deque<uint64_t> replaced_ages;
  double folded_decayed = 0;  // c_i of rate correction.
  // Tasks answered, accepted or refused. With a bound on who is ahead, one who joins late begins
  // with the number of the slowest.
  uint64_t answered = 0;
  double influence = 0;  // InfluenceOf its contributions (strategies/contributions.h), summed.
  FairShare fair;
  absl::Time granted_at;  // The newest grant.
  // Of FedCompass (arrival_groups.h): mean over its tasks, from grant to arrival; and the group
  // that waits for its open task.
  std::optional<double> seconds_per_step;
  std::optional<uint64_t> group;
  std::optional<uint64_t> slot;  // Of RunState::slots.
};

// One update's part in a version.
struct Contribution {
  SiteId site;
  TaskId task;
  Digest update = {};
  Version base;
  uint64_t staleness = 0;  // τ when folded.
  std::vector<WeightFactor> factors;
  // On Δ (on w_i − w where the direction is against the current model, on the compensated Δ for
  // DC-ASGD): the product of the factors. Where the server's step is not
  // linear (momentum, Adam) it is the share in the direction, without η.
  double coefficient = 0;
  // A table's entry of an earlier version counts in this one too, but was included before.
  enum class Role : uint8_t { kNew, kTableEntry } role = Role::kNew;
};

struct VersionState {
  Version version;
  Digest model_id = {};
  Digest payload_root = {};
  Sequence committed;
  absl::Time committed_at;
  std::vector<Contribution> contributions;  // kNew as in the buffer, then table entries.
  double server_learning_rate = 0;
  std::vector<double> scalars;  // Of its program: ‖direction‖², ‖w‖²; with SCAFFOLD ‖c‖².
  std::map<SiteId, std::shared_ptr<const v1::MetricSums>> validation;
  std::map<SiteId, std::shared_ptr<const v1::MetricSums>> test;
  // By stop.select_by over all members, once each has reported; absent before, and where no site
  // could compute the metric.
  std::optional<double> validation_score;
  enum class Stored : uint8_t { kKept, kForgotten } stored = Stored::kKept;
};

// A program that has been asked for and not been answered.
struct PendingProgram {
  uint64_t program = 0;
  Version makes;
  std::vector<Contribution> contributions;
  double server_learning_rate = 0;
  // A rule that decides by numbers of the vectors asks for them first (strategies/measures.h); the
  // contributions have no coefficients until they have come.
  enum class Stage : uint8_t { kMeasures, kMakes } stage = Stage::kMakes;
  uint32_t empty_buckets = 0;  // Of those that count, where the rule has buckets.
};

// How far the look for a member without a report came: all before `next` have reported.
struct ReportsSeen {
  SiteId next;
  bool all = false;
};

// What follows from the members, until they change; in no digest.
struct MembersMemo {
  std::shared_ptr<const std::vector<SiteId>> list;  // Null: not made since.
  std::optional<double> examples;                   // Σ n_i
  std::optional<size_t> live;                       // Until the next version, too (fair_shares.h).
  // So that all the reports on a version together cost one look at each member.
  std::map<std::pair<Version, v1::Split>, ReportsSeen> reports_seen;
};

// Sites that are to arrive together (arrival_groups.h).
struct ArrivalGroup {
  absl::Time expected;
  absl::Time latest;
  double fastest = 0;  // The least seconds per step of all that joined.
  std::set<SiteId> awaited;
  std::vector<std::pair<SiteId, TaskId>> arrived;  // Accepted, in that order.
};

struct RunState {
  RunId run;
  std::shared_ptr<const v1::RunPlan> plan;
  Digest plan_hash = {};
  Stages stages;  // Of the plan.
  Digest layout_hash = {};
  uint64_t elements = 0;
  RunPhase phase = RunPhase::kOffered;
  absl::Time submitted_at;
  absl::Time ended_at;
  std::string why_ended;
  std::shared_ptr<const v1::Standardisation> standardisation;
  Digest standardisation_hash = {};
  SiteMap<Participant> participants;
  // One for whom the beginning waited when it was last looked, so that not every participant is
  // looked at whenever one of them is ready. Follows from the events, so it is in no digest.
  SiteId begin_waits_for;
  // Participants that have approved and are not removed: who trains, counts and is waited for.
  std::set<SiteId> members;
  MembersMemo members_memo;
  std::vector<VersionState> versions;  // Index = version number.
  // Accepted and in no version, nor in `pending` nor a group, in order of acceptance; groups as
  // they ended, a validator's first.
  std::vector<std::pair<SiteId, TaskId>> buffer;
  std::optional<PendingProgram> pending;
  uint64_t programs = 0;  // Asked for so far.
  // Barrier: the members whose task of this round has not ended, without those who were replaced.
  std::set<SiteId> awaited;
  // Set and not fired; a deadline that the plan has and this has not is over.
  std::map<Timer, absl::Time> timers;
  // By number; of FedCompass.
  std::map<uint64_t, ArrivalGroup> groups;
  uint64_t groups_made = 0;
  // Who rests, by the number of the timer; rests begun so far.
  std::map<uint64_t, SiteId> resting;
  uint64_t rests = 0;
  // Who holds a training slot (training_slots.h), by its number, so the oldest first; slots given
  // so far.
  std::map<uint64_t, SiteId> slots;
  uint64_t slots_given = 0;
  uint64_t optimizer_steps = 0;
  std::optional<Version> best;    // Of those with a validation_score; the earliest of equals.
  std::optional<Version> scored;  // The newest with a validation_score.
  std::optional<Version> result;  // The best on validation; set when closing.
  uint64_t duplicates_absorbed = 0;
  std::map<v1::Reason, uint64_t> refusals;

  Version current() const { return Version(versions.empty() ? 0 : versions.size() - 1); }
};

// The members in their order: one list for all who ask, until they change.
inline const std::shared_ptr<const std::vector<SiteId>>& ListOfMembers(RunState& run) {
  std::shared_ptr<const std::vector<SiteId>>& list = run.members_memo.list;
  if (list == nullptr) {
    list = std::make_shared<const std::vector<SiteId>>(run.members.begin(), run.members.end());
  }
  return list;
}

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_RUN_STATE_H_
