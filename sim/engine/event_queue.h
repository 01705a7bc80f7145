// The simulator's time: a heap of what happens when. Two things at one instant happen in the order
// in which they were scheduled, so a simulation on virtual time is a function of its inputs alone.
// On a wall clock now() is moved on from outside.
//
// Ownership: holds the payloads. Threads: one.

#ifndef CONSILIUM_SIM_ENGINE_EVENT_QUEUE_H_
#define CONSILIUM_SIM_ENGINE_EVENT_QUEUE_H_

#include <algorithm>
#include <cstddef>
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
    heap_.push_back({std::max(at, now_), next_++, Keep(std::move(payload))});
    std::push_heap(heap_.begin(), heap_.end(), Later);
  }

  bool empty() const { return heap_.empty(); }

  // The earliest; moves now() to its time, where that is later. Not on an empty queue.
  Payload Pop() {
    std::pop_heap(heap_.begin(), heap_.end(), Later);
    const Item item = heap_.back();
    heap_.pop_back();
    now_ = std::max(now_, item.at);
    free_.push_back(item.place);
    return std::move(payloads_[item.place]);
  }

  absl::Time now() const { return now_; }
  // Of the earliest; InfiniteFuture where there is none.
  absl::Time next() const { return heap_.empty() ? absl::InfiniteFuture() : heap_.front().at; }
  // Never back.
  void AdvanceTo(absl::Time now) { now_ = std::max(now_, now); }

 private:
  // Small: the heap moves items about; payloads lie still, in places that are used again.
  struct Item {
    absl::Time at;
    uint64_t order;
    size_t place;
  };
  static bool Later(const Item& a, const Item& b) {
    return a.at != b.at ? a.at > b.at : a.order > b.order;
  }

  size_t Keep(Payload payload) {
    if (free_.empty()) {
      payloads_.push_back(std::move(payload));
      return payloads_.size() - 1;
    }
    const size_t place = free_.back();
    free_.pop_back();
    payloads_[place] = std::move(payload);
    return place;
  }

  std::vector<Item> heap_;
  std::vector<Payload> payloads_;
  std::vector<size_t> free_;
  uint64_t next_ = 0;
  absl::Time now_ = absl::UnixEpoch();
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_EVENT_QUEUE_H_
