// A strategy as a composition of stages. Presets are rows of one table (presets.cc), not classes;
// a stage that the run config gives replaces the row's. What does not fit together is refused
// with a reason, never ignored.
//
// Ownership: values. Threads: as any value.

#ifndef CONSILIUM_AGGREGATOR_CORE_STRATEGIES_STAGES_H_
#define CONSILIUM_AGGREGATOR_CORE_STRATEGIES_STAGES_H_

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aggregator/core/strategies/fairness.h"
#include "aggregator/core/strategies/rate_correction.h"
#include "aggregator/core/strategies/robust_rule.h"
#include "aggregator/core/strategies/server_optimizer.h"
#include "aggregator/core/strategies/staleness.h"
#include "aggregator/core/strategies/zeno_rule.h"
#include "consilium/v1/run_config.pb.h"

namespace consilium::federation {

// When a version is made.
enum class TriggerStage : uint8_t {
  kBuffer,    // Of every K accepted updates.
  kBarrier,   // When every member has delivered, or at the round's deadline.
  kBounded,   // Of every update, but no member gets further ahead of the slowest than a bound.
  kInterval,  // Of what has come so long after the last version; of the next where nothing has.
  kGroups,    // Of each arrival group, and of each update that belongs to none (FedCompass).
};
// Against what an update counts.
enum class DirectionStage : uint8_t {
  kOwnBase,  // Δ_i = w_i − w_base
  kCurrent,  // w_i − w_current = Δ_i + w_base − w_current
  // DC-ASGD: −ηS·(g + λ·g⊙g⊙(w_current − w_base)), g = −Δ_i/(ηS), for S local steps of plain SGD
  // with learning rate η; so Δ_i − λ/(ηS)·Δ_i⊙Δ_i⊙(w_current − w_base).
  kCompensated,
};
// What a version is made of.
enum class CombineStage : uint8_t {
  kBuffer,           // The updates that triggered it.
  kTable,            // The latest update of every member.
  kCalibratedTable,  // Mean of the table as it was, plus the buffer's mean difference to it.
};
enum class SizeStage : uint8_t {
  kNone,
  kExamples,  // n_i as the update says.
  kShare,     // p_i = n_i/n over the members.
};
// The τ that goes into the staleness function.
enum class StalenessStage : uint8_t {
  kNone,
  kVersions,     // Version when folded − base version.
  kBeyondUsual,  // The same less the site's usual one, floored at 0.
  kOverOne,      // s(τ)/s(1), as FLSim has it.
  kReciprocal,   // 1/(1 + 1/s(τ)) = 1/(1 + (1+τ)^exponent), as NVFlare has it; 1 where s is
                 // constant.
  kFunctional,   // None: how far the model has moved since takes its place.
};
// By what the weighted sum is divided: where implementations of "the same" rule diverge.
enum class NormalisationStage : uint8_t {
  kCount,            // K, the number of updates in the version.
  kWeights,          // The sum of the weights.
  kMembersAndCount,  // Table entries by N, the buffer's differences by M.
  kMembers,          // N, the number of members.
  kSum,              // Nothing.
  // FedNova: by each update's local steps and the sum of weights, times the weighted mean of steps.
  kLocalSteps,
};

// What the server keeps beside the weights.
enum class ControlStage : uint8_t {
  kNone,
  kVariates,  // SCAFFOLD's c (control_variates.h).
};

// Of kGroups (arrival_groups.h).
struct GroupRule {
  uint32_t local_steps_min = 20;  // Q_min
  uint32_t local_steps_max = 100;
  double latest_factor = 1.5;
  // The authors' program (APPFL, compass_scheduler.py) has speed = (1 − m)·speed + m·now with
  // m = .9: most of the mean is the last task.
  double speed_decay = 0.1;
};

// How many members train at once (training_slots.h).
struct ConcurrencyRule {
  uint32_t sites_max = 1;
  absl::Duration deadline;  // Of a slot, above 0.
};

struct Stages {
  TriggerStage trigger = TriggerStage::kBuffer;
  uint32_t buffer_updates = 1;       // K, or the least that it is:
  double buffer_live_share_min = 0;  // of the live members (fair_shares.h), with a contract.
  absl::Duration round_deadline = absl::ZeroDuration();  // Zero: none.
  uint32_t round_sites_min = 1;
  uint32_t round_sites = 0;                        // Drawn for each round; 0: all members.
  uint32_t updates_ahead_max = 4;                  // Of kBounded.
  absl::Duration interval = absl::ZeroDuration();  // Of kInterval.
  std::optional<GroupRule> groups;                 // Of kGroups, always.
  std::optional<ConcurrencyRule> concurrency;      // Neither of kBarrier nor of kGroups.
  DirectionStage direction = DirectionStage::kOwnBase;
  CombineStage combine = CombineStage::kBuffer;
  SizeStage size = SizeStage::kNone;
  StalenessStage staleness_of = StalenessStage::kNone;
  StalenessFunction staleness;
  std::optional<RateCorrectionRule> rate_correction;
  std::optional<FairnessRule> fairness;
  NormalisationStage normalisation = NormalisationStage::kCount;
  double clip_norm = 0;              // Largest ‖Δ‖₂; 0: none.
  std::optional<RobustRule> robust;  // In the place of the mean; with kBuffer only.
  std::optional<FunctionalStaleness> functional;
  std::optional<ZenoRule> zeno;   // Who scores updates, and how; with kBuffer only.
  std::optional<double> mixing;   // α of FedAsync.
  double delay_compensation = 0;  // λ of DC-ASGD.
  // ACED: entries of the table that are older do not count.
  std::optional<uint64_t> entry_age_max;
  ControlStage control = ControlStage::kNone;
  ServerRule server;
};

// The stages of an aggregation config. INVALID_ARGUMENT names the field that does not fit.
absl::StatusOr<Stages> StagesOf(const v1::AggregationConfig& config);

// With kInterval a version is made before its time where so many updates wait.
inline constexpr size_t kIntervalUpdatesMax = 10'000;

// Whether the rule counts the local steps that a site says it took.
inline bool UsesLocalSteps(const Stages& stages) {
  return stages.normalisation == NormalisationStage::kLocalSteps ||
         stages.direction == DirectionStage::kCompensated ||
         stages.control == ControlStage::kVariates;
}

// Whether the rule keeps the latest update of each site.
inline bool KeepsTable(const Stages& stages) { return stages.combine != CombineStage::kBuffer; }

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_STRATEGIES_STAGES_H_
