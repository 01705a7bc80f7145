// The simulator's virtual time: a heap of what happens when. Two things at one instant happen in
// the order in which they were scheduled, so a simulation is a function of its inputs alone.
//
// Ownership: holds the payloads. Threads: one.

#ifndef CONSILIUM_SIM_ENGINE_EVENT_QUEUE_H_
#define CONSILIUM_SIM_ENGINE_EVENT_QUEUE_H_

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace consilium {

template <typename Payload>
class EventQueue {
 public:
  // Before now() is taken as now().
  void Schedule(absl::Time at, Payload payload) {
    heap_.push_back({std::max(at, now_), next_++, std::move(payload)});
    std::push_heap(heap_.begin(), heap_.end(), Later);
  }

  bool empty() const { return heap_.empty(); }

  // The earliest; moves now() to its time. Not on an empty queue.
  Payload Pop() {
    std::pop_heap(heap_.begin(), heap_.end(), Later);
    Item item = std::move(heap_.back());
    heap_.pop_back();
    now_ = item.at;
    return std::move(item.payload);
  }

  absl::Time now() const { return now_; }

 private:
  struct Item {
    absl::Time at;
    uint64_t order;
    Payload payload;
  };
  static bool Later(const Item& a, const Item& b) {
    return a.at != b.at ? a.at > b.at : a.order > b.order;
  }

  std::vector<Item> heap_;
  uint64_t next_ = 0;
  absl::Time now_ = absl::UnixEpoch();
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_EVENT_QUEUE_H_
