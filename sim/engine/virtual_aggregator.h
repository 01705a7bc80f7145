// The production FederationEngine in a shell of virtual time: what consilium-aggregator does with
// files, sockets and threads, done in memory at once.
//
// Ownership: owns engine, vectors and journal; borrows the world. Threads: one.

#ifndef CONSILIUM_SIM_ENGINE_VIRTUAL_AGGREGATOR_H_
#define CONSILIUM_SIM_ENGINE_VIRTUAL_AGGREGATOR_H_

#include <map>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "aggregator/core/engine.h"
#include "aggregator/merge/memory_vector_store.h"
#include "protocol/core/commit_barrier.h"
#include "sim/engine/recording.h"
#include "sim/engine/world.h"

namespace consilium {

class VirtualAggregator {
 public:
  // `recording` may be null; else every input and every accepted update goes there.
  VirtualAggregator(World& world, Recording* recording) : world_(world), recording_(recording) {}

  // Steps the engine at the world's time and executes what follows.
  void Handle(const federation::Event& event);

  const federation::FederationEngine& engine() const { return engine_; }
  // What sites fetch of a version (site_agent/core/fetched_model.h). NOT_FOUND where there is no
  // such version, or it was forgotten.
  absl::StatusOr<Weights> ModelOf(const RunId& run, Version version) const;
  // The same, one for all sites that hold it; and as IdleVectors::Keep.
  absl::StatusOr<IdleVectors::Held> FetchedOf(const RunId& run, Version version) const;
  // The vectors of a run; nullptr where it has none yet.
  MemoryVectorStore* VectorsOf(const RunId& run) const;

 private:
  struct Parts {
    Weights weights;
    Weights control;  // Null where the version has none.
  };
  absl::StatusOr<Parts> PartsOf(const RunId& run, Version version) const;
  // The vector of an update that was accepted just now.
  void StoreUpdate(const federation::UpdateStaged& staged);
  void RecordResult(const federation::ComputeDone& done);
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
  federation::FederationEngine engine_;
  CommitBarrier<federation::Action> barrier_;
  std::map<RunId, std::unique_ptr<MemoryVectorStore>> stores_;
  // The process whose upload is being answered.
  Incarnation uploader_;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_VIRTUAL_AGGREGATOR_H_
