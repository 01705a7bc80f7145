// The production FederationEngine in a shell of virtual time: what consilium-aggregator does with
// files, sockets and threads, done in memory at once, or where the scenario says so after the time
// that its journal takes, and with crashes.
//
// Ownership: owns engine, vectors and journal; borrows the world. Threads: one.

#ifndef CONSILIUM_SIM_ENGINE_VIRTUAL_AGGREGATOR_H_
#define CONSILIUM_SIM_ENGINE_VIRTUAL_AGGREGATOR_H_

#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aggregator/core/engine.h"
#include "aggregator/core/journal_codec.h"
#include "aggregator/merge/memory_vector_store.h"
#include "consilium/v1/scenario.pb.h"
#include "protocol/core/commit_barrier.h"
#include "protocol/wire/derived_seed.h"
#include "sim/engine/recording.h"
#include "sim/engine/simulation_vectors.h"
#include "sim/engine/world.h"

namespace consilium {

class VirtualAggregator {
 public:
  // `recording` may be null; else every input goes there when it is durable, with the update that
  // it accepted.
  VirtualAggregator(World& world, const v1::Scenario& scenario, Recording* recording);

  // Its process starts; and it may crash from now on.
  void Start();
  // Steps the engine at the world's time, and executes what follows when that is durable.
  void Handle(const ToAggregator& message);
  void Take(const AggregatorTurn& turn);

  // Whether all inputs so far are durable.
  bool IsDurable() const { return waiting_.empty(); }
  uint64_t life() const { return life_; }

  const federation::FederationEngine& engine() const { return engine_; }
  // What sites fetch of a version (site_agent/core/fetched_model.h). NOT_FOUND where there is no
  // such version, or it was forgotten.
  absl::StatusOr<Weights> ModelOf(const RunId& run, Version version) const;
  // The same, one for all sites that hold it; and as IdleVectors::Keep.
  absl::StatusOr<IdleVectors::Held> FetchedOf(const RunId& run, Version version) const;
  // The vectors of a run; nullptr where it has none yet.
  MemoryVectorStore* VectorsOf(const RunId& run) const;
  // Updates that were accepted and are not durable, for a checkpoint, and out of it: as
  // Simulation::Vectors and Restore.
  void AddVectors(SimulationVectors& vectors) const;
  absl::Status TakeVectors(const SimulationVectors& vectors);

 private:
  struct Parts {
    Weights weights;
    Weights control;  // Null where the version has none.
  };
  absl::StatusOr<Parts> PartsOf(const RunId& run, Version version) const;
  // An input that the engine has taken and that is not durable yet.
  struct Waiting {
    Sequence sequence;
    absl::Time now;
    ToAggregator message;
    Weights accepted;  // The vector of the update that it brought, if the engine took that.
  };
  // The vector of an update that was accepted just now; else null.
  Weights AcceptedBy(const federation::Event& event);
  // The input is durable: it is kept, and what followed from it is executed.
  void Commit(Sequence sequence, absl::Time now, const ToAggregator& message,
              const Weights& accepted);
  void StoreUpdate(const federation::UpdateStaged& staged, const Weights& delta);
  void RecordResult(const federation::ComputeDone& done);
  void Crash();
  void ScheduleCrash();
  // An input that was lost in a crash: its upload breaks; an operator, who was not answered, asks
  // again.
  void Forget(const federation::Event& event);
  // After the time that it took in the recorded run, where there is one.
  void ScheduleDone(federation::ComputeDone done);
  void Compute(const federation::Compute& action);
  void Draw(const federation::DrawInitialModel& action);
  void Execute(const federation::Action& action);
  void Announce(const federation::AnnounceToMembers& action);
  void SendReceipt(const federation::SendReceipt& action);
  void SendRefusal(const federation::RefuseUpdate& action);
  MemoryVectorStore* StoreOf(const RunId& run);

  World& world_;
  Recording* const recording_;
  const absl::Duration journal_time_;
  const absl::Duration crash_every_;  // Zero: never.
  RandomStream crashes_;
  federation::FederationEngine engine_;
  std::deque<Waiting> waiting_;
  // What is durable, to start again with; empty where nothing crashes.
  std::vector<federation::JournalledEvent> journal_;
  uint64_t life_ = 1;  // Which process of it this is.
  CommitBarrier<federation::Action> barrier_;
  std::map<RunId, std::unique_ptr<MemoryVectorStore>> stores_;
  // The process whose upload is being answered.
  Incarnation uploader_;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_VIRTUAL_AGGREGATOR_H_
