// A federation for tests: an engine with sites that are added, attached and approved, and updates
// that are easy to say. Vectors do not exist: an update's id is made of its names.

#ifndef CONSILIUM_TESTS_AGGREGATOR_CORE_FEDERATION_FIXTURE_H_
#define CONSILIUM_TESTS_AGGREGATOR_CORE_FEDERATION_FIXTURE_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "aggregator/core/engine.h"
#include "aggregator/core/journal_codec.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/identity.h"

namespace consilium::federation {

// A resolved plan of a model with three features and no standardisation, but for `aggregation`
// (text format) and stop.versions_max.
struct PlanOptions {
  std::string aggregation = "preset: FEDBUFF trigger { buffer { updates: 2 } }";
  std::string config = "";  // More fields of RunConfig, e.g. "stop { patience_versions: 2 }".
  uint32_t versions_max = 5;
};
std::shared_ptr<const v1::RunPlan> MakePlan(const PlanOptions& options);

class TestFederation {
 public:
  // Sites a, b, c, … with their numbers of training examples; all attached.
  explicit TestFederation(const std::vector<uint64_t>& examples);

  std::vector<Action> Step(const Event& event);
  // Submits the plan; all sites approve; version 0 is drawn.
  void StartRun(std::shared_ptr<const v1::RunPlan> plan);
  std::vector<Action> Attach(const SiteId& site, std::vector<SiteAttached::Held> held = {});
  std::vector<Action> Decide(const SiteId& site, RunDecided::Answer answer);

  // An update for the site's oldest open grant, on the current version unless said otherwise.
  UpdateStaged Update(const SiteId& site) const;
  UpdateStaged Update(const SiteId& site, Version base) const;
  // Stages it.
  std::vector<Action> Deliver(const SiteId& site) { return Step(Update(site)); }
  std::vector<Action> Deliver(const SiteId& site, Version base) { return Step(Update(site, base)); }
  // Stages it with a norm that no run takes: it is refused for good.
  std::vector<Action> Refuse(const SiteId& site) {
    UpdateStaged bad = Update(site);
    bad.norm = std::numeric_limits<double>::infinity();
    return Step(bad);
  }
  // Answers the pending program.
  std::vector<Action> Answer();
  std::vector<Action> Evaluate(const SiteId& site, Version version, v1::Split split,
                               double log_loss);

  const RunState& run() const { return engine.runs().at(run_id); }
  const Participant& participant(const SiteId& site) const { return run().participants.at(site); }

  static SiteId Site(int index) { return SiteId(std::string(1, static_cast<char>('a' + index))); }
  static Digest Lease(const SiteId& site, uint64_t number) {
    return Sha256Of(absl::StrCat(site.value(), "/", number));
  }

  FederationEngine engine;
  RunId run_id = RunId("run-1");
  absl::Time now = absl::FromUnixSeconds(1'000'000);
  std::vector<SiteId> sites;
  std::map<SiteId, uint64_t> examples;
  std::vector<JournalledEvent> journal;  // Every input so far.
  std::map<SiteId, uint64_t> attaches;   // Also the incarnation and the number of the lease.
};

// Those of one kind, in order. An announcement to all members is one to each.
template <typename A>
std::vector<A> Of(const std::vector<Action>& actions) {
  std::vector<A> out;
  for (const Action& action : actions) {
    if (const A* a = std::get_if<A>(&action)) out.push_back(*a);
    if constexpr (std::is_same_v<A, AnnounceModel>) {
      if (const auto* all = std::get_if<AnnounceToMembers>(&action)) {
        for (const SiteId& site : *all->members) out.push_back(AnnouncementTo(site, *all));
      }
    }
  }
  return out;
}

}  // namespace consilium::federation

#endif  // CONSILIUM_TESTS_AGGREGATOR_CORE_FEDERATION_FIXTURE_H_
