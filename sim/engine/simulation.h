// One simulated federation: the production engines on virtual time, over real data split into
// virtual sites. A function of plan, scenario and data: the same inputs give the same models, bit
// by bit.
//
// With workers it runs on a wall clock instead (docs/adr/0010-wall-clock.md): sites take as long as
// their workers take, messages between engines no time, and in which order updates come is a matter
// of the machine. Its journal gives the same models again.
//
// Ownership: borrows data and trainer. Threads: one.

#ifndef CONSILIUM_SIM_ENGINE_SIMULATION_H_
#define CONSILIUM_SIM_ENGINE_SIMULATION_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "aggregator/core/run_state.h"
#include "consilium/v1/run_config.pb.h"
#include "consilium/v1/scenario.pb.h"
#include "sim/engine/idle_vectors.h"
#include "sim/engine/recording.h"
#include "sim/engine/run_log.h"
#include "sim/engine/simulation_vectors.h"
#include "sim/engine/site_data.h"
#include "sim/engine/site_record.h"
#include "sim/engine/virtual_aggregator.h"
#include "sim/engine/virtual_site.h"
#include "site_agent/core/trainer.h"

namespace consilium {

class Simulation;

struct SimulationInput {
  v1::RunPlan plan;       // Resolved.
  v1::Scenario scenario;  // Its dataset is in `data` already.
  const FederationData* data = nullptr;
  Trainer* trainer = nullptr;
  // Trains sites beside each other, where there is one; `trainer` is then its own(). Outlives the
  // simulation.
  TrainingPool* trainings = nullptr;
  // Train and evaluate on a wall clock; null: virtual time. Outlives the simulation. Nothing of it
  // can be gone on with: `log` is a new one, and Vectors and Restore are not for it.
  WallWorkers* workers = nullptr;
  // Of what sites hold between their tasks.
  IdleVectors::Options idle;
  // How updates are trained, as checkpoints tell it: one of another trainer is not gone on with.
  std::string trainer_name = "libtorch";
  // May be null; outlives the simulation.
  Recording* recording = nullptr;
  // Of a recorded run, with every site of the data: the run has its name, the sites keep its pace,
  // and an operator stops it as then. Links take no time. May be null; outlives the simulation.
  const RunRecord* record = nullptr;
  // Called when a version has committed.
  std::function<void(const federation::RunState& run, absl::Time now)> on_version;
  // Where outcomes and the journal are kept; may be null, and outlives the simulation.
  RunLog* log = nullptr;
  // Called before each event and after the last, when Vectors and Restore may be. An error ends the
  // simulation.
  std::function<absl::Status(Simulation& simulation)> between;
};

class Simulation {
 public:
  // INVALID_ARGUMENT: the scenario says what it can not (scenario_checks.h), or what needs virtual
  // time.
  static absl::StatusOr<std::unique_ptr<Simulation>> Create(SimulationInput input);
  ~Simulation();
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;

  // Until the run has ended and nothing is on its way. FAILED_PRECONDITION where it stands still,
  // or training leaves the finite numbers again and again (NOT_FINITE) before its run has ended:
  // nothing can happen any more, which is a defect of an engine or a scenario in which all sites
  // refuse. On a wall clock a worker that is lost ends it, too.
  absl::Status Run();

  // Whether the aggregator has taken the run.
  bool has_run() const { return aggregator_.engine().runs().contains(run_id_); }
  // Only where it has.
  const federation::RunState& run() const;
  const federation::FederationEngine& aggregator_engine() const { return aggregator_.engine(); }
  // Whether the aggregator's journal holds all that its engine has taken.
  bool IsDurable() const { return aggregator_.IsDurable(); }
  absl::StatusOr<Weights> ModelOf(Version version) const;
  // What a site of the data keeps from task to task; null where that is nothing. Errors as
  // IdleVector::Read.
  absl::StatusOr<Weights> KeptOf(const SiteId& site) const;
  // Where its sites' vectors lie between their tasks.
  IdleVectors& idle() const { return *world_.idle; }
  absl::Time now() const { return world_.queue.now(); }
  // Its site numbers count the sites of the data, in their order.
  const ActivityLog& activity() const { return world_.activity; }

  // Events so far.
  uint64_t steps() const { return steps_; }
  // Of every engine and of the place in time: equal for simulations that go on alike.
  Digest StateDigest() const;
  SimulationVectors Vectors() const;
  // In place of the placeholders that recalled outcomes have left; what sites hold is of idle().
  // DATA_LOSS where one is not there.
  absl::Status Restore(const SimulationVectors& vectors);

  // Of a site of the data.
  const site::SiteEngine& EngineOf(const SiteId& site) const {
    return sites_[world_.site_index.at(site)]->engine();
  }
  // For good, as the scenario's leave_rate had it; the aggregator may not know it yet.
  bool HasLeft(const SiteId& site) const { return sites_[world_.site_index.at(site)]->has_left(); }
  // As of VirtualSite.
  uint64_t TasksDoneBy(const SiteId& site) const {
    return sites_[world_.site_index.at(site)]->tasks_done();
  }
  bool HasFallenSilent(const SiteId& site) const {
    return sites_[world_.site_index.at(site)]->has_fallen_silent();
  }

 private:
  explicit Simulation(SimulationInput input);
  void AddSites();
  VirtualSiteOptions OptionsFor(const SiteId& site, double slowdown) const;
  void Take(const ToAggregator& message);
  // The next event.
  void Step();
  // Counts failed trainings.
  void WatchFailures();
  bool IsBeyondHope(size_t site) const;
  bool TrainsInVain() const;
  bool CanGoOn() const;
  absl::Status RunOnVirtualTime();
  absl::Status RunOnWallClock();
  // Tells of new versions, and of the run's end.
  void Watch();
  absl::Status Between() { return input_.between ? input_.between(*this) : absl::OkStatus(); }
  absl::Status StandsStill() const;
  // Where nothing else can happen any more: sites that fell silent leave, or the run is stopped.
  // Whether that helps.
  bool GoesOnWithoutTheSilent();

  SimulationInput input_;
  World world_;
  ExamplesCache examples_;
  VirtualAggregator aggregator_;
  std::vector<std::unique_ptr<VirtualSite>> sites_;
  RunId run_id_;
  size_t versions_seen_ = 0;
  uint64_t turns_since_version_ = 0;
  uint64_t failures_seen_ = 0;  // Of World::failures.
  // Failed trainings in a row, in none of which anyone else could have made a version.
  uint64_t failures_in_vain_ = 0;
  uint64_t steps_ = 0;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_SIMULATION_H_
