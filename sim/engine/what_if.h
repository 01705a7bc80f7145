// A recorded federation under another plan, or without some of its sites: the production engines on
// virtual time, each site at the pace that was recorded of it.
//
// Of a site whose table is at hand the updates are trained, from whatever models the changed run
// hands out. Any other site's recorded updates are sent, in their order, as if they had been made
// from those models: an approximation, since they were made from others.
//
// Threads: one.

#ifndef CONSILIUM_SIM_ENGINE_WHAT_IF_H_
#define CONSILIUM_SIM_ENGINE_WHAT_IF_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <vector>

#include "absl/status/statusor.h"
#include "consilium/v1/run_config.pb.h"
#include "protocol/core/ids.h"
#include "sim/engine/recorded_run.h"
#include "sim/engine/simulation.h"
#include "sim/engine/site_data.h"
#include "sim/engine/training_pool.h"
#include "site_agent/core/trainer.h"

namespace consilium {

struct WhatIfInput {
  v1::RunPlan plan;  // Resolved. Where it lists participants, without those below.
  std::set<SiteId> without;
  FederationData data;         // Of the sites that train, split as the plan says.
  Trainer* trainer = nullptr;  // Outlive the result, as SimulationInput has them.
  TrainingPool* trainings = nullptr;
  std::function<void(const federation::RunState& run, absl::Time now)> on_version = nullptr;
};

// How a site came into the changed run.
struct WhatIfSite {
  SiteId site;
  enum class Mode : uint8_t {
    kRetrained,
    kReaggregated,
    kAbsent,  // It took no part in the recorded run either: it refused, or never was ready.
  } mode = Mode::kAbsent;
  uint64_t recorded = 0;     // Tasks whose durations are known; of kReaggregated, updates.
  uint64_t not_at_hand = 0;  // Of kReaggregated: accepted updates that the recording does not hold.
  uint64_t done = 0;         // Tasks in the changed run.
  // kRetrained: recorded durations began anew. kReaggregated: it was asked for more than it had.
  bool used_up = false;
};

struct WhatIf {
  // What the simulation borrows.
  std::unique_ptr<const RunRecord> record;
  std::unique_ptr<const FederationData> data;
  std::unique_ptr<Simulation> simulation;  // At its end.
  std::vector<WhatIfSite> sites;           // In their order, without those left out.
};

// Runs it to its end. What `recorded` was read from outlives the result.
//   INVALID_ARGUMENT    a site to leave out, or with data, that took no part; nobody left; a change
//                       that recorded updates can not follow, by its field
//   NOT_FOUND           no data of a site, and none of its updates in the recording
//   and as Simulation::Run
absl::StatusOr<WhatIf> RunWhatIf(const RecordedRun& recorded, WhatIfInput input);

// ‖a − b‖₂/‖b‖₂ in f64; 0 where both are zeros. Of equal lengths.
double RelativeDistance(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_WHAT_IF_H_
