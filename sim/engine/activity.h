// What the virtual sites were doing when: intervals of training and of transfers, for the timeline
// of a report. What lies between them is waiting.
//
// Ownership: values. Threads: one.

#ifndef CONSILIUM_SIM_ENGINE_ACTIVITY_H_
#define CONSILIUM_SIM_ENGINE_ACTIVITY_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/time/time.h"

namespace consilium {

// More than a picture can show, and little memory.
inline constexpr size_t kActivitiesMax = 20'000;

struct Activity {
  enum class Kind : uint8_t { kTrain, kDownload, kUpload };
  size_t site = 0;  // Of the world's links.
  Kind kind = Kind::kTrain;
  absl::Time begin;
  absl::Time end;  // After begin.
};

// When one site did anything, whatever it was: the union of its activities.
class BusyTime {
 public:
  // In any order; cheap where it is about that of time.
  void Add(absl::Time begin, absl::Time end);
  // How much of the time from `begin` to `end` is in it.
  absl::Duration Within(absl::Time begin, absl::Time end) const;

 private:
  struct Span {
    absl::Time begin;
    absl::Time end;
  };
  std::vector<Span> spans_;  // Ascending, none of which meets another: one a pause.
};

// The first kActivitiesMax of a simulation, in the order in which they became known; and of each
// site, by all of them, when it was busy.
class ActivityLog {
 public:
  // Nothing where it took no time.
  void Add(const Activity& activity);
  const std::vector<Activity>& activities() const { return activities_; }
  // Of the site of that index.
  const BusyTime& BusyOf(size_t site) const;

 private:
  std::vector<Activity> activities_;
  std::vector<BusyTime> busy_;  // By site; only those with an activity.
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_ACTIVITY_H_
