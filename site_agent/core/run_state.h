// A run as this site knows it: read by status and by the next Hello; written by the engine alone.
// docs/adr/0001-lifecycle.md has the state table.
//
// Ownership: values; large parts are shared and immutable. Threads: the engine's.

#ifndef CONSILIUM_SITE_AGENT_CORE_RUN_STATE_H_
#define CONSILIUM_SITE_AGENT_CORE_RUN_STATE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "consilium/v1/coordination.pb.h"
#include "consilium/v1/run_config.pb.h"
#include "consilium/v1/transfer.pb.h"
#include "models/spec/preset_traits.h"
#include "protocol/core/ids.h"

namespace consilium::site {

enum class TaskPhase : uint8_t {
  kGranted,  // Waits for its turn, its base, or room in the outbox.
  kTraining,
  kTrained,  // Sealed in the outbox; held until task_duration_min is over.
  kReady,    // Waits for the link or a retry.
  kSending,
  kAccepted,     // An acceptance receipt is here; the end is not.
  kIncluded,     // Terminal, as are all below.
  kNotIncluded,  // An ending receipt still ends the two that have none:
  kRefused,
  kWithdrawn,  // The run, or its round, ended before it was sent.
};

struct TaskState {
  TaskPhase phase = TaskPhase::kGranted;
  Sequence granted;  // The input that granted it: the oldest is trained first.
  Version base_min;
  uint32_t local_steps = 0;
  uint32_t trainings_failed = 0;
  // kGranted: not trained before; kReady: not sent before.
  absl::Time retry_at = absl::InfinitePast();
  // From kTraining on:
  Version base;  // Bound when training starts.
  absl::Time training_started = absl::InfinitePast();
  // From kTrained on:
  absl::Time release_at = absl::InfinitePast();
  Digest update = {};
  std::shared_ptr<const v1::UpdateHeader> header;
  uint32_t sends_failed = 0;  // In a row.
  enum class Blob : uint8_t { kAbsent, kInOutbox, kDropped } blob = Blob::kAbsent;
  std::shared_ptr<const v1::Receipt> acceptance;
  std::shared_ptr<const v1::Receipt> ending;
};

struct ModelState {
  Digest model_id = {};
  uint64_t payload_bytes = 0;
  enum class Where : uint8_t { kAnnounced, kFetching, kHere } where = Where::kAnnounced;
  std::set<v1::Split> evaluations_wanted;
  std::set<v1::Split> evaluations_running;
  uint32_t fetches_failed = 0;                 // In a row.
  absl::Time retry_at = absl::InfinitePast();  // Not fetched before.
};

// What stays known of a version when its model has gone.
struct AnnouncedVersion {
  Digest model_id = {};
  uint64_t payload_bytes = 0;
  std::map<v1::Split, std::shared_ptr<const v1::EvaluationReport>> reports;
};

struct RunState {
  // Never null; empty once nothing needs it any more: the run was refused or is over.
  std::shared_ptr<const v1::RunPlan> plan;
  Digest plan_hash = {};
  std::shared_ptr<const v1::RunDecision> decision;  // Absent: not decided.
  std::string refusal;                              // Why, for this site's own people.
  std::string missing_data;  // What an undecided run waits for beside an approval, likewise.
  std::shared_ptr<const v1::StatisticsReport> statistics;  // Absent: not computed.
  Digest layout_hash = {};
  std::shared_ptr<const v1::Standardisation> standardisation;  // Absent: not started.
  std::map<Version, AnnouncedVersion> announced;               // The newest of them.
  std::optional<Version> forgotten;      // The newest that left `announced`; with all before it.
  std::optional<Version> newest;         // Announced.
  std::optional<Version> tested;         // The one version that test patients are asked about.
  std::map<Version, ModelState> models;  // Here, or to be fetched.
  std::map<TaskId, TaskState> tasks;
  std::set<TaskId> open;                  // kGranted to kSending.
  std::set<TaskId> held;                  // kAccepted.
  std::optional<Version> result;          // Set when the run has ended.
  SiteKeeps keeps = SiteKeeps::kNothing;  // Of the plan.
  // Versions that include an update of this site, and the update that what it keeps was made with:
  // the newest alone.
  std::map<Version, Digest> kept;
  // What the evaluation that is running reads of it. A later update may have taken its place.
  std::optional<Digest> evaluated_with;

  bool approved() const { return decision != nullptr && decision->approved(); }
  bool ended() const { return result.has_value(); }
  bool goes_on() const { return approved() && !ended(); }
};

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_CORE_RUN_STATE_H_
