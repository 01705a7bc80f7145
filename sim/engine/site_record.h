// What a recording tells of one site's pace, in a form that a virtual site can keep to, also where
// the run around it is another one (what_if.h).
//
// Ownership: borrows the recording's updates. Threads: as any value.

#ifndef CONSILIUM_SIM_ENGINE_SITE_RECORD_H_
#define CONSILIUM_SIM_ENGINE_SITE_RECORD_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "consilium/v1/coordination.pb.h"
#include "protocol/core/ids.h"

namespace consilium {

// The update that a task ended in, as it was recorded.
struct RecordedUpdate {
  const std::vector<float>* delta = nullptr;  // Null: the recording does not hold it.
  uint32_t steps = 0;
  uint64_t examples = 0;
  double training_loss = 0;
};

struct RecordedTask {
  // What the journal tells of the time between grant and arrival: until the base that it was
  // trained from had committed, where that was after the grant (the site was away, say), and from
  // then on. Work behind another task begins where that one arrived. Both >= 0.
  absl::Duration wait = absl::ZeroDuration();
  absl::Duration work = absl::ZeroDuration();
  // How long the next version had been there when that work began: the site had not fetched it.
  // 0: it had been trained from the newest.
  absl::Duration lag = absl::ZeroDuration();
  uint32_t local_steps = 0;  // As granted.
  enum class End : uint8_t {
    kArrived,
    kOpen,  // It had not arrived when it was withdrawn, or the recording ended: `work` is a guess.
  } end = End::kArrived;
  RecordedUpdate update;

  absl::Duration total() const { return wait + work; }
};

struct SiteRecord {
  // Durations are since the run's submission.
  struct Decision {
    absl::Duration after;
    bool approved = false;
    v1::Reason reason = v1::REASON_UNSPECIFIED;  // Of a refusal.
    uint64_t train_examples = 0;
  };
  std::optional<Decision> decision;  // Absent: it was never ready to take part.
  absl::Duration statistics_after = absl::ZeroDuration();
  std::shared_ptr<const v1::StatisticsReport> statistics;  // Null: it sent none.
  std::optional<absl::Duration> left_after;                // Removed, or withdrew.
  std::vector<RecordedTask> tasks;                         // In the order of their grants.
  enum class Updates : uint8_t {
    kTrained,     // The site trains; durations begin anew where there are more tasks than recorded.
    kPlayedBack,  // It sends the recorded updates, and then falls silent.
  } updates = Updates::kTrained;

  // Which one the site's task of that number, counted from 0, takes after; null where it never
  // comes to its end.
  const RecordedTask* TaskAt(uint64_t number) const {
    if (number < tasks.size()) return &tasks[number];
    if (tasks.empty() || updates == Updates::kPlayedBack) return nullptr;
    return &tasks[number % tasks.size()];
  }
};

struct RunRecord {
  RunId run;
  std::map<SiteId, SiteRecord> sites;  // Every participant.
  // An operator's.
  struct Stop {
    absl::Duration after;
    std::string operator_name;
  };
  std::optional<Stop> stop;
  // From asking for a vector program to its result, in the order of asking.
  std::vector<absl::Duration> programs;

  // Of the program of that number, from 1; they begin anew where there are more than recorded.
  absl::Duration TimeOfProgram(uint64_t number) const {
    if (programs.empty() || number == 0) return absl::ZeroDuration();
    return programs[(number - 1) % programs.size()];
  }
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_SITE_RECORD_H_
