// Virtual sites that send something else than what they were asked for, and how well that works.
//
// Ownership: values. Threads: as any value.

#ifndef CONSILIUM_SIM_ENGINE_ATTACKS_H_
#define CONSILIUM_SIM_ENGINE_ATTACKS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "consilium/v1/coordination.pb.h"
#include "consilium/v1/data_contract.pb.h"
#include "consilium/v1/run_config.pb.h"
#include "consilium/v1/scenario.pb.h"
#include "protocol/core/ids.h"
#include "sim/engine/site_data.h"
#include "site_agent/core/trainer.h"

namespace consilium {

// INVALID_ARGUMENT where a column, value or label of the attack is none of the contract's, or the
// label has no classes to attack.
absl::Status CheckAttackOnData(const v1::Attack& attack, const v1::DataContract& contract);

// The attack of each site that has one: those that are named, then of the others as many as the
// shares say, those with the smallest derived numbers first. The scenario is checked.
std::map<SiteId, v1::Attack> AssignAttacks(const v1::Scenario& scenario,
                                           const FederationData& data);

// What one such site does to its data and its updates.
class Attacker {
 public:
  // `attack` is checked against the contract of every plan that follows.
  Attacker(v1::Attack attack, uint64_t scenario_seed, SiteId site);

  // Whether it trains on other rows than its own: Poisoned.
  bool poisons() const { return attack_.has_label_flip() || attack_.has_backdoor(); }
  // `honest`, its training rows changed.
  SiteData Poisoned(const SiteData& honest, const v1::DataContract& contract) const;

  // What it sends in place of the update that it trained honestly (or on poisoned rows).
  void Distort(TaskId task, std::vector<float>& delta);

  // What it keeps between tasks: empty but for a free rider that copies.
  const std::vector<float>& first_update() const { return first_update_; }
  void set_first_update(std::vector<float> update) { first_update_ = std::move(update); }

 private:
  void AddNoise(TaskId task, std::vector<float>& delta) const;
  void PlantBackdoor(const v1::DataContract& contract, SiteData& data) const;

  v1::Attack attack_;
  uint64_t scenario_seed_;
  SiteId site_;
  std::vector<float> first_update_;  // Of a free rider that copies.
};

// How often a backdoor's trigger turns test rows of other labels into its target.
struct BackdoorSuccess {
  uint64_t rows = 0;           // Test rows of all sites whose label is not the target.
  double with_trigger = 0;     // The share of them that the model takes for the target.
  double without_trigger = 0;  // The same of the rows as they are.
};

struct BackdoorInput {
  const v1::RunPlan* plan = nullptr;
  const v1::Standardisation* standardisation = nullptr;
  std::span<const float> weights;
  const FederationData* data = nullptr;
  Trainer* trainer = nullptr;
};

// Of the scenario's first backdoor; nothing where it has none, or there are no such rows.
absl::StatusOr<std::optional<BackdoorSuccess>> MeasureBackdoor(const v1::Scenario& scenario,
                                                               const BackdoorInput& input);

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_ATTACKS_H_
