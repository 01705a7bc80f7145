// Nothing leaves before the input that caused it is durable: holds what followed from each input
// until the journal says that the input is committed. The one place where that rule is kept, used
// by both engines' shells and by the simulator, and property-tested with crashes anywhere.
//
// Ownership: holds the actions. Threads: one at a time.

#ifndef CONSILIUM_PROTOCOL_CORE_COMMIT_BARRIER_H_
#define CONSILIUM_PROTOCOL_CORE_COMMIT_BARRIER_H_

#include <deque>
#include <iterator>
#include <utility>
#include <vector>

#include "protocol/core/ids.h"

namespace consilium {

template <typename Action>
class CommitBarrier {
 public:
  // `sequence` is later than every one held before.
  void Hold(Sequence sequence, std::vector<Action> actions) {
    held_.emplace_back(sequence, std::move(actions));
  }

  // All up to and with `committed`, in the order of their inputs.
  std::vector<Action> Release(Sequence committed) {
    std::vector<Action> out;
    while (!held_.empty() && held_.front().first <= committed) {
      std::vector<Action>& actions = held_.front().second;
      out.insert(out.end(), std::make_move_iterator(actions.begin()),
                 std::make_move_iterator(actions.end()));
      held_.pop_front();
    }
    return out;
  }

  bool empty() const { return held_.empty(); }

 private:
  std::deque<std::pair<Sequence, std::vector<Action>>> held_;
};

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_CORE_COMMIT_BARRIER_H_
