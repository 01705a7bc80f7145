// The engine's thread, and the one way to it: a bounded queue of inputs. Everything that waits is
// stepped together and shares one commit of the journal; only then do its consequences leave
// (protocol/core/commit_barrier.h), receipts and directives alike.
//
// Where the journal can not be written (a full disk), nothing is acknowledged: uploads that wait
// are refused as STORAGE, to be sent again, and the commit is tried until it succeeds. Meanwhile
// the queue fills and callers hear BUSY.
//
// Ownership: borrows the parts of the server, which outlive it. Threads: any, but where it says
// "the engine thread".

#ifndef CONSILIUM_AGGREGATOR_SERVER_ENGINE_LOOP_H_
#define CONSILIUM_AGGREGATOR_SERVER_ENGINE_LOOP_H_

#include <atomic>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "aggregator/core/engine.h"
#include "aggregator/server/arrival_gate.h"
#include "aggregator/server/effects.h"
#include "aggregator/server/engine_input.h"
#include "aggregator/server/programs.h"
#include "aggregator/server/run_index.h"
#include "aggregator/server/run_vectors.h"
#include "aggregator/server/staged_blobs.h"
#include "aggregator/server/store.h"
#include "aggregator/server/timers.h"
#include "protocol/core/bounded_queue.h"
#include "protocol/core/clock.h"
#include "protocol/core/commit_barrier.h"

namespace consilium {

inline constexpr absl::Duration kCommitRetryDelay = absl::Seconds(1);
// Of what sites sent and the engine has not taken yet (BUSY): limits::kEngineQueueMax inputs may be
// large ones.
inline constexpr size_t kEngineQueueBytesMax = size_t{64} << 20;

class EngineLoop {
 public:
  struct Parts {
    Store& store;
    const Clock& clock;
    const ReceiptSigner& receipts;
    LinkTable& links;
    RunIndex& runs;
    RunVectors& vectors;
    StagedBlobs& staged;
    int compute_threads = 1;
    // Tests only; nothing otherwise.
    std::optional<ArrivalGate> gate;
  };

  // Verifies the journal's chain and replays it, removes what a crash left behind, and starts.
  // DATA_LOSS names the first entry that is wrong.
  static absl::StatusOr<std::unique_ptr<EngineLoop>> Start(Parts parts);
  ~EngineLoop();
  EngineLoop(const EngineLoop&) = delete;
  EngineLoop& operator=(const EngineLoop&) = delete;

  // Stops after the batch in work; inputs that were not committed were not acknowledged either.
  // From then on posting says that the loop is stopping. Once, and not on the engine thread.
  void Stop();

  // False where the queue is full, by number or by bytes, or the loop is stopping; `input` is
  // untouched then.
  bool TryPost(EngineInput&& input);
  // Waits for room. False where the loop is stopping. Not for the engine thread.
  bool Post(EngineInput input);
  // Never waits: of an attached stream it comes once, so sites can not fill the queue with it.
  void PostLost(federation::SiteLost lost);
  // Posts and waits until the input is durable. UNAVAILABLE where the loop stops before, or where
  // the input is none that a journal can keep.
  absl::Status PostAndWait(federation::Event event);

  // Runs `look` on the engine thread, between two batches, and waits for it. UNAVAILABLE where the
  // loop stops before.
  absl::Status Inspect(std::function<void(const federation::FederationEngine&)> look);

  // For the functions that Inspect() runs: whether the engine names the update's blob, and whether
  // it said that it will never name a vector again.
  bool IsNamed(const StagedUpdate& update) const;
  bool IsForgotten(const RunId& run, const VectorName& vector) const {
    return effects_->IsForgotten(run, vector);
  }

 private:
  // A waiter that learns when its function ran, or was dropped.
  struct Inspection {
    std::function<void(const federation::FederationEngine&)> look;
  };
  using Item = std::variant<EngineInput, Inspection>;
  // One consequence of an input; without an action: the input became durable.
  struct Effect {
    std::optional<federation::Action> action;
    std::shared_ptr<EngineInput> cause;
    std::optional<Version> made;  // By this ComputeDone.
  };
  struct Batch {
    std::vector<std::string> entries;
    bool made_version = false;
    std::vector<Inspection> inspections;
    std::vector<std::shared_ptr<EngineInput>> uploads;
    // Runs that may have changed, and in each the sites whose part in it may have.
    std::map<RunId, std::set<SiteId>> touched;
  };

  explicit EngineLoop(Parts parts);
  // engine_recovery.cc
  absl::Status Recover();
  absl::Status Replay(const ChainRow& row);
  absl::Status RestoreVectors();
  absl::Status Sweep(const federation::RunState& run, SealedVectors& vectors);

  void Run();
  void Collect(Batch& batch);
  void Take(Item item, Batch& batch);
  void Offer(std::shared_ptr<EngineInput> input, Batch& batch);
  void Step(std::shared_ptr<EngineInput> input, Batch& batch);
  static void Reject(EngineInput& input, const absl::Status& why);
  bool Commit(Batch& batch);
  void SignHead(const ChainHead& head, const Batch& batch);
  void Publish(const Batch& batch);
  void Release(Batch& batch);
  void NoteCommitted(const Effect& effect);
  void SettleOrphans();
  void Drain();
  std::vector<RunId> RunsNotEnded() const;
  std::optional<Version> VersionMadeBy(const federation::Event& event) const;

  Parts parts_;
  federation::FederationEngine engine_;
  BoundedQueue<Item> queue_;
  std::atomic<size_t> waiting_bytes_ = 0;  // Of the inputs in it.
  absl::Notification stopped_;
  CommitBarrier<Effect> barrier_;
  std::deque<EngineInput> own_;  // Inputs that the engine thread itself has.
  std::deque<std::shared_ptr<EngineInput>> gated_;
  // What the journal said of programs, until the vectors are restored from it.
  struct ReplayedPrograms {
    std::vector<std::pair<Version, std::vector<uint64_t>>> asked;
    std::vector<Version> made;
  };
  std::map<RunId, ReplayedPrograms> replayed_;
  uint64_t unsigned_entries_ = 0;
  absl::Time head_signed_ = absl::InfinitePast();
  std::unique_ptr<Timers> timers_;
  std::unique_ptr<Programs> programs_;
  std::unique_ptr<Effects> effects_;
  std::jthread thread_;
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_ENGINE_LOOP_H_
