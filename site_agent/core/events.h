// What can happen to a hospital's agent: the inputs of SiteEngine. Each is recorded in the site's
// own journal before anything that follows from it leaves the process.
//
// The lease that fences a cloned store is the runtime's (site_agent/runtime/lease.h): a secret
// does not pass through a journal.
//
// Ownership: values; large parts are shared and immutable. Threads: as any value.

#ifndef CONSILIUM_SITE_AGENT_CORE_EVENTS_H_
#define CONSILIUM_SITE_AGENT_CORE_EVENTS_H_

#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <variant>

#include "absl/time/time.h"
#include "consilium/v1/coordination.pb.h"
#include "consilium/v1/run_config.pb.h"
#include "consilium/v1/transfer.pb.h"
#include "protocol/core/ids.h"

namespace consilium::site {

// The agent's process started; what was training is lost, what lies in the outbox is not.
struct Started {
  Incarnation incarnation;
};

// The control stream is attached (Welcome came, the lease is confirmed), or gone.
struct LinkUp {};
struct LinkDown {};

// Directives (coordination.proto).
struct RunOffered {
  RunId run;
  std::shared_ptr<const v1::RunPlan> plan;
  Digest plan_hash = {};
};
struct RunStarted {
  RunId run;
  Digest layout_hash = {};
  std::shared_ptr<const v1::Standardisation> standardisation;
};
struct TaskOffered {
  RunId run;
  TaskId task;
  Version base_min;
  uint32_t local_steps = 0;
};
struct ModelAvailable {
  RunId run;
  Version version;
  Digest model_id = {};
  uint64_t payload_bytes = 0;
  v1::Split evaluate = v1::SPLIT_UNSPECIFIED;
};
struct ReceiptReceived {
  std::shared_ptr<const v1::Receipt> receipt;  // Signature checked.
};
struct UpdateRefused {
  RunId run;
  TaskId task;
  v1::Reason reason = v1::REASON_UNSPECIFIED;
  std::string message;
};
struct RunEnded {
  RunId run;
  Version last;
  Version result;
  std::string why;
};

// This site takes its part in the run back: a person says so, or its statistics must not leave.
inline constexpr char kWithdrawnByPerson[] = "a person at this site has withdrawn from the run";
struct RunWithdrawn {
  RunId run;
  std::string why = {};  // For this site's people.
};

// Answers of the shell to the engine's actions.
// CheckPlan: spec, policy, data set and minimum count were looked at, in this order.
struct PlanChecked {
  RunId run;
  // Neither of the two waits is an answer to the aggregator: this site's people can still end them,
  // with an approval or an import, and the plan is looked at again then.
  enum class Answer : uint8_t {
    kApproved,
    kRefused,
    kWaitsForPerson,
    kWaitsForData,
  } answer = Answer::kRefused;
  v1::Reason reason = v1::REASON_UNSPECIFIED;
  std::string message;  // For this site's people: it may speak of their data.
  uint64_t train_examples = 0;
};
struct StatisticsComputed {
  RunId run;
  std::shared_ptr<const v1::StatisticsReport> report;
};
struct ModelFetched {
  RunId run;
  Version version;
};
struct FetchFailed {
  RunId run;
  Version version;
  v1::ErrorDetail error;
  double jitter = 0;  // Uniform in [0, 1), drawn by the shell.
};
// The update is sealed and synced in the outbox.
struct TrainDone {
  RunId run;
  TaskId task;
  Digest update = {};  // UpdateIdOf(header).
  std::shared_ptr<const v1::UpdateHeader> header;
};
struct TrainFailed {
  RunId run;
  TaskId task;
  std::string message;
};
struct EvaluationComputed {
  RunId run;
  Version version;
  v1::Split split = v1::SPLIT_UNSPECIFIED;
  std::shared_ptr<const v1::MetricSums> metrics;
};
struct SendFailed {
  RunId run;
  TaskId task;
  v1::ErrorDetail error;
  double jitter = 0;
};

struct Timer {
  enum class Kind : uint8_t {
    kRelease = 1,     // The wait of a task is over (task_duration_min, or after a failed
                      // training); number: task.
    kRetrySend = 2,   // number: task.
    kRetryFetch = 3,  // number: version.
  };
  RunId run;
  Kind kind = Kind::kRelease;
  uint64_t number = 0;
  friend auto operator<=>(const Timer&, const Timer&) = default;
};
struct TimerFired {
  Timer timer;
};

using Event = std::variant<Started, LinkUp, LinkDown, RunOffered, RunStarted, TaskOffered,
                           ModelAvailable, ReceiptReceived, UpdateRefused, RunEnded, PlanChecked,
                           StatisticsComputed, ModelFetched, FetchFailed, TrainDone, TrainFailed,
                           EvaluationComputed, SendFailed, TimerFired, RunWithdrawn>;

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_CORE_EVENTS_H_
