// The one thread that owns a site's engine. Events come in through a bounded queue from whoever has
// something to tell; each batch of them is stepped, committed to the site's journal with one sync,
// and only then are the actions that follow handed out (protocol/core/commit_barrier.h).
//
//   queue -> Step -> barrier holds -> journal commits -> barrier releases -> ActionSink
//
// A journal that can not be written ends the loop: nothing that it could not record may happen.
//
// Ownership: borrows store and sink. Threads: Post and Ask from any; the sink is called on the
// loop's thread and may Post only what fits (it must not wait).

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_ENGINE_LOOP_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_ENGINE_LOOP_H_

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "protocol/core/bounded_queue.h"
#include "protocol/core/clock.h"
#include "protocol/core/commit_barrier.h"
#include "site_agent/core/actions.h"
#include "site_agent/core/engine.h"
#include "site_agent/core/events.h"
#include "site_agent/runtime/site_store.h"

namespace consilium::site {

class ActionSink {
 public:
  virtual ~ActionSink() = default;
  // `engine` is the state now, which may be a few inputs further than the one that caused `action`.
  virtual void Execute(const SiteEngine& engine, const Action& action) = 0;
  // An input was committed; for logs.
  virtual void OnCommitted(const Event& event) = 0;
  // The journal failed, and the loop has ended.
  virtual void OnFailed(const absl::Status& why) = 0;
};

class EngineLoop {
 public:
  // Checks the chain and feeds the journal to a fresh engine, its actions dropped. DATA_LOSS names
  // the first wrong row.
  static absl::StatusOr<SiteEngine> Recover(SiteStore* store, const SiteId& site,
                                            const SiteOptions& options);

  EngineLoop(SiteEngine engine, SiteStore* store, const Clock* clock, ActionSink* sink);
  ~EngineLoop();
  EngineLoop(const EngineLoop&) = delete;
  EngineLoop& operator=(const EngineLoop&) = delete;

  // Starts the thread; the first event is Started.
  void Start(Incarnation incarnation);

  // Waits for room. False once the loop has ended.
  bool Post(Event event);

  // Runs `question` on the loop's thread, after what was posted before, and waits for it. False,
  // and not run, once the loop has ended.
  bool Ask(const std::function<void(const SiteEngine&)>& question);

  // What is in the queue is still committed, its actions are not executed. Joins.
  void Stop();

 private:
  struct Question {
    const std::function<void(const SiteEngine&)>* ask = nullptr;
    absl::Notification over;
    bool asked = false;
  };
  using Input = std::variant<Event, std::shared_ptr<Question>>;

  void Run();
  absl::Duration UntilNextTimer() const;
  void TakeBatch();
  void Take(Input input);
  void Step(Event event);
  absl::Status Commit();
  void Execute();
  void Answer(Question& question);

  SiteEngine engine_;
  SiteStore* const store_;
  const Clock* const clock_;
  ActionSink* const sink_;
  BoundedQueue<Input> queue_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;

  // The thread's own from here on.
  CommitBarrier<Action> barrier_;
  std::vector<Event> stepped_;
  std::vector<std::string> uncommitted_;
  std::vector<std::shared_ptr<Question>> questions_;
  std::map<Timer, absl::Time> timers_;
};

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_ENGINE_LOOP_H_
