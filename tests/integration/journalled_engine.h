// An engine behind its journal, as both shells keep it: every input is written down, what follows
// from it waits in the CommitBarrier, and a crash leaves a fold of what was committed. Checks that
// the fold passes through the states that the engine passed through.
//
// Threads: one.

#ifndef CONSILIUM_TESTS_INTEGRATION_JOURNALLED_ENGINE_H_
#define CONSILIUM_TESTS_INTEGRATION_JOURNALLED_ENGINE_H_

#include <functional>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "protocol/core/commit_barrier.h"
#include "protocol/core/ids.h"

namespace consilium::integration {

template <typename Engine, typename Event, typename Action>
class JournalledEngine {
 public:
  explicit JournalledEngine(std::function<Engine()> make)
      : make_(std::move(make)), engine_(make_()) {}

  const Engine& engine() const { return engine_; }
  size_t committed() const { return committed_; }

  void Take(absl::Time now, const Event& event) {
    std::vector<Action> actions = engine_.Step(now, event);
    journal_.push_back({now, event});
    if (journal_.size() % kDigestEvery == 0) journal_.back().state_after = engine_.StateDigest();
    barrier_.Hold(engine_.sequence(), std::move(actions));
  }

  // All that waits is durable now: what may be done.
  std::vector<Action> Commit() {
    committed_ = journal_.size();
    return barrier_.Release(Sequence(committed_));
  }

  // The inputs that were committed since the last call.
  std::vector<Event> NewlyCommitted() {
    std::vector<Event> events;
    for (; told_ < committed_; ++told_) events.push_back(journal_[told_].event);
    return events;
  }

  enum class Replay : uint8_t { kSame, kDiffers };

  // What was not committed is gone.
  Replay Crash() {
    journal_.resize(committed_);
    barrier_ = {};
    engine_ = make_();
    Replay replay = Replay::kSame;
    for (const Entry& entry : journal_) {
      engine_.Step(entry.now, entry.event);
      if (entry.state_after != Digest{} && entry.state_after != engine_.StateDigest()) {
        replay = Replay::kDiffers;
      }
    }
    return replay;
  }

 private:
  static constexpr size_t kDigestEvery = 16;
  struct Entry {
    absl::Time now;
    Event event;
    Digest state_after = {};
  };

  std::function<Engine()> make_;
  Engine engine_;
  CommitBarrier<Action> barrier_;
  std::vector<Entry> journal_;
  size_t committed_ = 0;
  size_t told_ = 0;
};

}  // namespace consilium::integration

#endif  // CONSILIUM_TESTS_INTEGRATION_JOURNALLED_ENGINE_H_
