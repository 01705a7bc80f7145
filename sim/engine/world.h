// What the virtual aggregator and the virtual sites share: virtual time, the messages between
// them, and the vectors that are on their way.
//
// Ownership: the Simulation owns it. Threads: one.

#ifndef CONSILIUM_SIM_ENGINE_WORLD_H_
#define CONSILIUM_SIM_ENGINE_WORLD_H_

#include <cstddef>
#include <map>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "aggregator/core/events.h"
#include "protocol/core/ids.h"
#include "sim/engine/event_queue.h"
#include "site_agent/core/events.h"

namespace consilium {

using Weights = std::shared_ptr<const std::vector<float>>;

// To the aggregator, to the site of that index, or: that site opens its control stream again.
struct ToAggregator {
  federation::Event event;
};
struct ToSite {
  size_t site = 0;
  site::Event event;
};
struct AttachSite {
  size_t site = 0;
};

struct World {
  EventQueue<std::variant<ToAggregator, ToSite, AttachSite>> queue;
  // One way, for control messages and transfers.
  absl::Duration latency;
  std::map<SiteId, size_t> site_index;
  // Trained updates by id, from the site that trained them.
  std::map<Digest, Weights> updates;
  // The first thing that went wrong in a way that no engine handles; ends the simulation.
  absl::Status failure;

  void SendToAggregator(federation::Event event) {
    queue.Schedule(queue.now() + latency, ToAggregator{std::move(event)});
  }
  void SendToSite(const SiteId& site, site::Event event) {
    if (auto found = site_index.find(site); found != site_index.end()) {
      queue.Schedule(queue.now() + latency, ToSite{found->second, std::move(event)});
    }
  }
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_WORLD_H_
