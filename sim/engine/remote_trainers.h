// Other processes that train virtual sites for this one (sim/cluster).
//
// Threads: as each call says.

#ifndef CONSILIUM_SIM_ENGINE_REMOTE_TRAINERS_H_
#define CONSILIUM_SIM_ENGINE_REMOTE_TRAINERS_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "consilium/v1/run_config.pb.h"
#include "consilium/v1/scenario.pb.h"
#include "sim/engine/site_data.h"
#include "sim/engine/site_work.h"

namespace consilium {

class RemoteTrainers {
 public:
  virtual ~RemoteTrainers() = default;

  // One for each task that they train beside each other; each is used by one thread. This outlives
  // them.
  virtual std::vector<std::unique_ptr<TaskWorker>> Workers() = 0;
  // Before the tasks of a simulation; none is at work. FAILED_PRECONDITION where one of them has
  // other data, or computes otherwise; else as status().
  virtual absl::Status Prepare(const v1::RunPlan& plan, const v1::Scenario& scenario,
                               const FederationData& data) = 0;
  // ABORTED once one of them is lost or the launcher asks all to end, and says what is known of it;
  // the simulation is to be ended. Threads: any.
  virtual absl::Status status() = 0;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_REMOTE_TRAINERS_H_
