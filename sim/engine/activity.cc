#include "sim/engine/activity.h"

#include <algorithm>

namespace consilium {

void BusyTime::Add(absl::Time begin, absl::Time end) {
  // Those that it meets, to become one with it. They are among the newest.
  auto first = spans_.end();
  while (first != spans_.begin() && std::prev(first)->end >= begin) --first;
  auto last = first;
  while (last != spans_.end() && last->begin <= end) {
    begin = std::min(begin, last->begin);
    end = std::max(end, last->end);
    ++last;
  }
  if (first == last) {
    spans_.insert(first, {begin, end});
    return;
  }
  *first = {begin, end};
  spans_.erase(first + 1, last);
}

absl::Duration BusyTime::Within(absl::Time begin, absl::Time end) const {
  absl::Duration busy = absl::ZeroDuration();
  for (const Span& span : spans_) {
    busy += std::max(absl::ZeroDuration(), std::min(span.end, end) - std::max(span.begin, begin));
  }
  return busy;
}

void ActivityLog::Add(const Activity& activity) {
  if (activity.end <= activity.begin) return;
  if (activities_.size() < kActivitiesMax) activities_.push_back(activity);
  if (busy_.size() <= activity.site) busy_.resize(activity.site + 1);
  busy_[activity.site].Add(activity.begin, activity.end);
}

const BusyTime& ActivityLog::BusyOf(size_t site) const {
  static const BusyTime kNever;
  return site < busy_.size() ? busy_[site] : kNever;
}

}  // namespace consilium
