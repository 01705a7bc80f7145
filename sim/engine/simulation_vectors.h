// All vectors of a simulation at one moment: what its checkpoint holds besides its place in time.
//
// Ownership: shared with the simulation. Threads: as any value.

#ifndef CONSILIUM_SIM_ENGINE_SIMULATION_VECTORS_H_
#define CONSILIUM_SIM_ENGINE_SIMULATION_VECTORS_H_

#include <map>
#include <memory>
#include <vector>

#include "aggregator/merge/memory_vector_store.h"
#include "protocol/core/ids.h"
#include "sim/engine/idle_vectors.h"

namespace consilium {

struct SimulationVectors {
  using Values = MemoryVectorStore::Values;

  MemoryVectorStore::Contents store;                   // The aggregator's.
  std::map<Version, IdleVectors::Held> models;         // That sites hold.
  std::map<Digest, Values> updates;                    // In outboxes, or accepted a moment ago.
  std::map<Digest, IdleVectors::Held> kept;            // With an update, at its site.
  std::map<SiteId, std::vector<float>> first_updates;  // Of free riders that copy.
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_SIMULATION_VECTORS_H_
