// FOR TESTS ONLY. Fixes the order in which updates reach the engine, and with it every decision, so
// that the final model of a disturbed run can be compared bit by bit with that of an undisturbed
// one. A real aggregator takes updates as they come.
//
// The order is a file with a site id a line. A new update waits until its site is next and no
// program is running; duplicates pass. When the list is used up, updates pass as they come.
//
// The base of a task must not hang on when a site heard of a version: each grant is given the
// version that was current when it was made, as the least base; announcements of newer ones are
// withheld from a site until the updates of its grants that need older ones have been taken.
//
// Everything here follows from the journal, so a restart goes on where the order was.
//
// Ownership: values. Threads: the engine's.

#ifndef CONSILIUM_AGGREGATOR_SERVER_ARRIVAL_GATE_H_
#define CONSILIUM_AGGREGATOR_SERVER_ARRIVAL_GATE_H_

#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "aggregator/core/actions.h"
#include "aggregator/core/engine.h"
#include "aggregator/core/events.h"
#include "protocol/core/ids.h"

namespace consilium {

class ArrivalGate {
 public:
  explicit ArrivalGate(std::vector<SiteId> order) : order_(std::move(order)) {}
  // Empty lines and those that begin with '#' are passed over. The file's errors; INVALID_ARGUMENT
  // for a line that is no site id.
  static absl::StatusOr<ArrivalGate> FromFile(const std::string& path);

  // Whether the engine may take this update now.
  bool Admits(const federation::FederationEngine& engine,
              const federation::UpdateStaged& update) const;

  // Before each step, also in recovery.
  void BeforeStep(const federation::FederationEngine& engine, const federation::Event& event);
  // After each step, also in recovery: takes out announcements that must wait, and puts in those
  // that need not any more.
  void AfterStep(const federation::FederationEngine& engine,
                 std::vector<federation::Action>& actions);

 private:
  using Grant = std::tuple<RunId, SiteId, TaskId>;
  // The newest version that the site may hear of.
  Version CeilingOf(const federation::RunState& run, const SiteId& site) const;
  void Withhold(federation::AnnounceModel announcement);

  std::vector<SiteId> order_;
  size_t next_ = 0;
  std::optional<Grant> turn_;  // Of the update in this step. One that a dead process sent has none.
  std::map<Grant, Version> least_bases_;
  std::vector<federation::AnnounceModel> withheld_;
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_ARRIVAL_GATE_H_
