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

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "protocol/core/ids.h"
#include "site_agent/core/actions.h"
#include "site_agent/core/events.h"

namespace consilium::site {

enum class TaskPhase : uint8_t {
  kGranted,  // Waits for its turn, its base, or room in the outbox.
  kTraining,
  kTrained,  // Sealed in the outbox; held until task_duration_min is over.
  kReady,    // Waits for the link or a retry.
  kSending,
  kAccepted,  // An acceptance receipt is here; the end is not.
  kIncluded,  // Terminal, as are all below.
  kNotIncluded,
  kRefused,
  kWithdrawn,  // The run ended before it was trained.
};

struct TaskState {
  TaskPhase phase = TaskPhase::kGranted;
  Version base_min;
  uint32_t local_steps = 0;
  Version base;  // Bound when training starts.
  absl::Time training_started;
  Digest update = {};
  std::shared_ptr<const v1::UpdateHeader> header;
  uint32_t sends_failed = 0;  // In a row; backoff.
  std::shared_ptr<const v1::Receipt> acceptance;
  std::shared_ptr<const v1::Receipt> ending;
};

struct ModelState {
  Digest model_id = {};
  uint64_t payload_bytes = 0;
  enum class Where : uint8_t { kAnnounced, kFetching, kHere } where = Where::kAnnounced;
  std::vector<v1::Split> evaluations_wanted;
  uint32_t fetches_failed = 0;
};

struct RunState {
  std::shared_ptr<const v1::RunPlan> plan;
  Digest plan_hash = {};
  std::shared_ptr<const v1::RunDecision> decision;         // Absent: not decided.
  std::shared_ptr<const v1::StatisticsReport> statistics;  // Absent: not computed.
  Digest layout_hash = {};
  std::shared_ptr<const v1::Standardisation> standardisation;  // Absent: not started.
  std::map<Version, ModelState> models;
  std::map<TaskId, TaskState> tasks;
  std::optional<Version> result;  // Set when the run has ended.
};

// What this site itself asks of the engine, apart from any run.
struct SiteOptions {
  // A task takes at least this long here, whatever the plan says; lets a site be slow on purpose.
  absl::Duration task_duration_min = absl::ZeroDuration();
};

class SiteEngine {
 public:
  SiteEngine(SiteId site, SiteOptions options);
  ~SiteEngine();
  SiteEngine(SiteEngine&&) noexcept;
  SiteEngine& operator=(SiteEngine&&) noexcept;

  // Takes one input; never fails. Increments sequence() by one.
  std::vector<Action> Step(absl::Time now, const Event& event);

  Sequence sequence() const;
  const std::map<RunId, RunState>& runs() const;

  // What the next Hello tells besides incarnation and leases.
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
