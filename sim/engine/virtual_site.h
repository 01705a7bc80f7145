// The production SiteEngine in a shell of virtual time: what consilium-agent does with a store,
// threads and a link, done in memory at once. Trains for real.
//
// Ownership: owns its engine, data and models; borrows the world, the aggregator (for model
// bytes) and a trainer. Threads: one.

#ifndef CONSILIUM_SIM_ENGINE_VIRTUAL_SITE_H_
#define CONSILIUM_SIM_ENGINE_VIRTUAL_SITE_H_

#include <map>
#include <memory>
#include <optional>

#include "protocol/core/commit_barrier.h"
#include "protocol/wire/derived_seed.h"
#include "sim/engine/site_data.h"
#include "sim/engine/virtual_aggregator.h"
#include "sim/engine/world.h"
#include "site_agent/core/engine.h"
#include "site_agent/core/release_rules.h"
#include "site_agent/core/trainer.h"

namespace consilium {

struct VirtualSiteOptions {
  SiteId id;
  size_t index = 0;
  absl::Duration task_duration = absl::ZeroDuration();      // What computing a task takes here.
  absl::Duration task_duration_min = absl::ZeroDuration();  // As an agent's own option.
  // As an agent's own option; what a site says over fewer rows is withheld as an agent does.
  uint64_t minimum_count = site::kMinimumCountDefault;
  v1::Faults faults;
  uint64_t seed = 0;  // Of the faults.
};

class VirtualSite {
 public:
  // `data`, `aggregator` and `trainer` outlive the site.
  VirtualSite(VirtualSiteOptions options, const SiteData& data, World& world,
              const VirtualAggregator& aggregator, Trainer& trainer);

  // The agent's process starts and attaches.
  void Start();
  void Handle(const site::Event& event);
  // Opens the control stream.
  void Attach();

  const site::SiteEngine& engine() const { return engine_; }

 private:
  void Execute(const site::Action& action);
  void CheckPlan(const site::CheckPlan& action);
  void ComputeStatistics(const site::ComputeStatistics& action);
  void Fetch(const site::Fetch& action);
  void Train(const site::Train& action);
  void Evaluate(const site::Evaluate& action);
  void Send(const site::Send& action);
  void DropLink();
  void After(absl::Duration delay, site::Event event);
  absl::StatusOr<const SplitExamples*> ExamplesOf(const RunId& run);

  const VirtualSiteOptions options_;
  const SiteData& data_;
  World& world_;
  const VirtualAggregator& aggregator_;
  Trainer& trainer_;
  site::SiteEngine engine_;
  CommitBarrier<site::Action> barrier_;
  std::map<RunId, SplitExamples> examples_;
  RandomStream faults_;
  Incarnation incarnation_;
  uint64_t leases_ = 0;  // The lease is a counter: nobody copies a virtual site's store.
  bool link_up_ = false;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_VIRTUAL_SITE_H_
