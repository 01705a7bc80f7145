// What SiteEngine asks of its shell. Data only; none is executed before the event that caused it
// is durable in the site's journal (protocol/core/commit_barrier.h).
//
// Ownership: values. Threads: as any value.

#ifndef CONSILIUM_SITE_AGENT_CORE_ACTIONS_H_
#define CONSILIUM_SITE_AGENT_CORE_ACTIONS_H_

#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "absl/time/time.h"
#include "protocol/core/ids.h"
#include "site_agent/core/events.h"

namespace consilium::site {

// Look at policy, data set and spec; answer with PlanChecked.
struct CheckPlan {
  RunId run;
  std::shared_ptr<const v1::RunPlan> plan;
  Digest plan_hash = {};
};
// Answer with StatisticsComputed.
struct ComputeStatistics {
  RunId run;
};
// Answer with ModelFetched or FetchFailed.
struct Fetch {
  RunId run;
  Version version;
  Digest model_id = {};
  uint64_t payload_bytes = 0;
};
// Train, seal the update into the outbox, sync; answer with TrainDone or TrainFailed. What the site
// keeps with the update is sealed and synced before it, under KeptBlobOf(update).
struct Train {
  RunId run;
  TaskId task;
  Version base;
  Digest base_model_id = {};
  uint32_t local_steps = 0;
  std::optional<Digest> kept = {};  // The update that what the site keeps was made with.
};
// The task is given up; a Train that follows runs after it. No answer is awaited, and one that
// still comes is ignored.
struct StopTraining {
  RunId run;
  TaskId task;
};
// Answer with EvaluationComputed.
struct Evaluate {
  RunId run;
  Version version;
  v1::Split split = v1::SPLIT_UNSPECIFIED;  // VALIDATION or TEST.
  // As Train has it, where what the site keeps is of a personal model. It stays until the answer.
  std::optional<Digest> kept = {};
};
// Upload from the outbox; answer with ReceiptReceived, UpdateRefused or SendFailed.
struct Send {
  RunId run;
  TaskId task;
  Digest update = {};
  std::shared_ptr<const v1::UpdateHeader> header;
};
// Over the control stream, through the egress gate.
struct ReportDecision {
  std::shared_ptr<const v1::RunDecision> decision;
};
struct ReportStatistics {
  std::shared_ptr<const v1::StatisticsReport> report;
};
struct ReportEvaluation {
  std::shared_ptr<const v1::EvaluationReport> report;
};
// Blobs that nothing will name again.
struct DropUpdate {
  Digest update = {};
};
struct DropModel {
  RunId run;
  Version version;
};
// What was kept with the update (KeptBlobOf).
struct DropKept {
  Digest update = {};
};
struct SetTimer {
  Timer timer;
  absl::Time at;
};
// A person should look.
struct Alarm {
  v1::Reason reason = v1::REASON_UNSPECIFIED;
  RunId run;
  std::string message;
};

// The blob of what a site keeps with an update. Of the update's id alone: the update, with those
// included before it, says what is in it.
Digest KeptBlobOf(const Digest& update);

using Action = std::variant<CheckPlan, ComputeStatistics, Fetch, Train, StopTraining, Evaluate,
                            Send, ReportDecision, ReportStatistics, ReportEvaluation, DropUpdate,
                            DropModel, DropKept, SetTimer, Alarm>;

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_CORE_ACTIONS_H_
