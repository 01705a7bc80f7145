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
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
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
  enum class Kind : uint8_t { kSize, kStaleness, kRateCorrection, kNormalisation, kMixing };
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
  // kIncluded:
  Version included_in;
  double coefficient = 0;
  // kRefused: sequence and reason of the refusal.
  v1::Reason reason = v1::REASON_UNSPECIFIED;
};

// A site in this run.
struct Participant {
  enum class Decision : uint8_t { kPending, kApproved, kRefused } decision = Decision::kPending;
  v1::Reason refusal_reason = v1::REASON_UNSPECIFIED;
  uint64_t train_examples = 0;  // n_i
  std::shared_ptr<const v1::StatisticsReport> statistics;
  std::map<TaskId, TaskState> tasks;
  TaskId newest_task;
  // The entry of the table of latest updates.
  std::optional<TaskId> latest_folded;
  // Ages in versions that earlier entries had reached when they were replaced; newest last.
  std::deque<uint64_t> replaced_ages;
  double folded_decayed = 0;  // c_i of rate correction.
  double influence = 0;       // Sum of this site's coefficients over all versions.
};

// One update's part in a version.
struct Contribution {
  SiteId site;
  TaskId task;
  Digest update = {};
  Version base;
  uint64_t staleness = 0;  // τ when folded.
  std::vector<WeightFactor> factors;
  double coefficient = 0;  // On Δ (or, for FedAsync, on w_i), all factors and η included.
  // A table's entry of an earlier version counts in this one too, but was included before.
  enum class Role : uint8_t { kNew, kTableEntry } role = Role::kNew;
};

struct VersionState {
  Version version;
  Digest model_id = {};
  Digest payload_root = {};
  absl::Time committed_at;
  std::vector<Contribution> contributions;
  double server_learning_rate = 0;
  std::vector<double> scalars;  // Of its program, e.g. the step's norm.
  std::map<SiteId, std::shared_ptr<const v1::MetricSums>> validation;
  std::map<SiteId, std::shared_ptr<const v1::MetricSums>> test;
};

// A program that has been asked for and not been answered.
struct PendingProgram {
  uint64_t program = 0;
  Version makes;
  std::vector<Contribution> contributions;
  double server_learning_rate = 0;
};

struct RunState {
  RunId run;
  std::shared_ptr<const v1::RunPlan> plan;
  Digest plan_hash = {};
  Digest layout_hash = {};
  uint64_t elements = 0;
  RunPhase phase = RunPhase::kOffered;
  absl::Time submitted_at;
  absl::Time ended_at;
  std::string why_ended;
  std::shared_ptr<const v1::Standardisation> standardisation;
  Digest standardisation_hash = {};
  std::map<SiteId, Participant> participants;
  std::vector<VersionState> versions;             // Index = version number.
  std::vector<std::pair<SiteId, TaskId>> buffer;  // Accepted, not folded, in order of acceptance.
  std::optional<PendingProgram> pending;
  uint64_t programs = 0;  // Asked for so far.
  uint64_t optimizer_steps = 0;
  std::optional<Version> result;  // The best on validation; set when closing.
  uint64_t duplicates_absorbed = 0;
  std::map<v1::Reason, uint64_t> refusals;

  Version current() const { return Version(versions.empty() ? 0 : versions.size() - 1); }
};

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_RUN_STATE_H_
