// The whole state of the engine, and one step on it: what the parts of the engine work on. Each
// part is a header of functions `On…(StepContext&, const Event&)`, and of functions that see to it
// that what the state now asks for is asked of the shell; engine.cc calls them.
//
// Ownership: SiteState holds values; StepContext borrows for the length of one step.
// Threads: the engine's.

#ifndef CONSILIUM_SITE_AGENT_CORE_SITE_STATE_H_
#define CONSILIUM_SITE_AGENT_CORE_SITE_STATE_H_

#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "protocol/core/ids.h"
#include "site_agent/core/actions.h"
#include "site_agent/core/run_state.h"
#include "site_agent/core/site_options.h"

namespace consilium::site {

struct SiteState {
  SiteId id;
  SiteOptions options;
  Sequence sequence;  // Of the last input taken.
  absl::Time now = absl::UnixEpoch();
  Incarnation incarnation;
  enum class Link : uint8_t { kDown, kUp } link = Link::kDown;
  std::map<RunId, RunState> runs;

  // Views on the tasks of all runs, kept by SetPhase.
  std::set<std::tuple<Sequence, RunId, TaskId>> granted;  // kGranted, oldest first.
  std::optional<std::pair<RunId, TaskId>> training;
  size_t pacing = 0;     // Tasks in kTrained: the site counts as busy.
  size_t in_outbox = 0;  // Tasks from kTrained to kSending.
  size_t runs_open = 0;  // Neither refused here nor ended.

  uint64_t plan_bytes_taken = 0;  // Of all plans ever looked at: the journal has them for ever.
};

// Canonical digest of all of it: equal states have equal digests.
Digest StateDigestOf(const SiteState& site);

// A task of the run with the id.
struct TaskRef {
  const RunId& run_id;
  RunState& run;
  TaskId id;
  TaskState& task;
};

struct StepContext {
  SiteState& site;
  std::vector<Action>& actions;

  template <typename A>
  void Emit(A action) {
    actions.emplace_back(std::in_place_type<A>, std::move(action));
  }
  void Warn(v1::Reason reason, const RunId& run, std::string message) {
    Emit(Alarm{reason, run, std::move(message)});
  }

  absl::Time now() const { return site.now; }

  // Nullptr where there is none.
  RunState* FindRun(const RunId& run);
  // Nullptr, with an alarm, where the run was never offered here.
  RunState* ExpectRun(const RunId& run);
  // Nullptr, with an alarm, where it was not approved here as well.
  RunState* ExpectApproved(const RunId& run);
  // Nothing, with an alarm, where run or task are not known.
  std::optional<TaskRef> ExpectTask(const RunId& run, TaskId task);
};

// The only way a task's phase changes. Emits DropUpdate when the outbox need not hold it any more.
void SetPhase(StepContext& step, const TaskRef& ref, TaskPhase phase);

// Nothing of what the site keeps for the run is needed any more. What an evaluation reads goes with
// its end.
void DropAllKept(StepContext& step, RunState& run);

// What the site keeps: the update of it that the newest version includes.
std::optional<Digest> NewestKept(const RunState& run);

// No evaluation of the run reads what it keeps any more.
void ReleaseEvaluatedWith(StepContext& step, RunState& run);

inline bool IsTerminal(TaskPhase phase) { return phase >= TaskPhase::kIncluded; }
inline bool IsInOutbox(TaskPhase phase) {
  return phase >= TaskPhase::kTrained && phase <= TaskPhase::kSending;
}

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_CORE_SITE_STATE_H_
