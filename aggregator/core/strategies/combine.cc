#include "aggregator/core/strategies/combine.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "aggregator/core/fair_shares.h"
#include "aggregator/core/strategies/contributions.h"
#include "aggregator/core/strategies/control_variates.h"
#include "aggregator/core/strategies/measures.h"
#include "aggregator/core/strategies/robust_combine.h"
#include "aggregator/core/strategies/stages.h"
#include "aggregator/core/strategies/vector_steps.h"
#include "aggregator/core/strategies/zeno.h"
#include "aggregator/core/validator.h"

namespace consilium::federation {
namespace {

using Batch = std::span<const std::pair<SiteId, TaskId>>;
using Kind = WeightFactor::Kind;

const Participant& ParticipantOf(const RunState& run, const SiteId& site) {
  return run.participants.find(site)->second;
}

double ProductOf(const std::vector<WeightFactor>& factors) {
  double product = 1;
  for (const WeightFactor& factor : factors) product *= factor.value;
  return product;
}

// 1/total; a total of nothing (weights so small that they are 0) folds nothing.
double Inverse(double total) { return total > 0 ? 1 / total : 0; }

struct BufferTotals {
  double weights = 0;
  double weighted_steps = 0;  // Of local steps.
  double count = 0;
  double members = 0;
};

double NormalisationOfBuffer(NormalisationStage stage, const BufferTotals& totals) {
  switch (stage) {
    case NormalisationStage::kCount:
      return Inverse(totals.count);
    case NormalisationStage::kWeights:
      return Inverse(totals.weights);
    case NormalisationStage::kMembers:
      return Inverse(totals.members);
    case NormalisationStage::kSum:
      return 1;
    case NormalisationStage::kLocalSteps:
      return totals.weighted_steps * Inverse(totals.weights) * Inverse(totals.weights);
    case NormalisationStage::kMembersAndCount:
      break;  // Of a table: no preset has it with a buffer.
  }
  return 0;
}

// What the staleness stage makes of an update that is `versions` old.
double StalenessFactor(const Stages& stages, double versions) {
  switch (stages.staleness_of) {
    case StalenessStage::kOverOne:
      return StalenessWeight(stages.staleness, versions) / StalenessWeight(stages.staleness, 1);
    case StalenessStage::kReciprocal:
      return ReciprocalStalenessWeight(stages.staleness, versions);
    default:
      return StalenessWeight(stages.staleness, versions);
  }
}

// η where it is a factor of the coefficients.
double LinearStep(const Stages& stages, double learning_rate) {
  return PlaceOfLearningRate(stages.server) == LearningRatePlace::kInCoefficients ? learning_rate
                                                                                  : 1;
}

double FoldedOfMembers(const RunState& run) {
  double sum = 0;
  for (const SiteId& site : run.members) sum += ParticipantOf(run, site).folded_decayed;
  return sum;
}

struct MemberTotals {
  double examples = 0;
  double folded = 0;
  std::optional<RateCorrectionRule> rule = {};  // With the cap of this version.
  // With a fairness contract: of the batch; η/K.
  std::map<SiteId, double> updates_of = {};
  double per_weight = 1;
};

// Size and rate correction.
void AppendSizeFactors(const RunState& run, const MemberTotals& members, Contribution& entry) {
  const Stages& stages = run.stages;
  const Participant& participant = ParticipantOf(run, entry.site);
  if (stages.size == SizeStage::kExamples) {
    const uint64_t n = participant.tasks.find(entry.task)->second.examples;
    entry.factors.push_back({Kind::kSize, static_cast<double>(n)});
  }
  if (stages.size != SizeStage::kShare) return;
  const double share = static_cast<double>(participant.train_examples) / members.examples;
  entry.factors.push_back({Kind::kSize, share});
  if (!stages.rate_correction.has_value()) return;
  const RateOfSite rate = {.share = share,
                           .folded_decayed = participant.folded_decayed,
                           .folded_decayed_sum = members.folded,
                           .sites = run.members.size()};
  double weight = RateCorrectionWeight(*members.rule, rate);
  if (stages.fairness.has_value() && run.current() > Version(0)) {
    const double staleness = StalenessFactor(stages, static_cast<double>(entry.staleness));
    RateCorrectionRule uncapped = *members.rule;
    uncapped.cap = std::numeric_limits<double>::infinity();
    weight = FairWeight({.by_rate = share * RateCorrectionWeight(uncapped, rate),
                         .lacking = participant.fair.lacking,
                         .of_a_version = participant.fair.of_a_version,
                         .updates = members.updates_of.find(entry.site)->second,
                         .per_weight = members.per_weight * staleness,
                         .cap = members.rule->cap}) /
             share;
  }
  entry.factors.push_back({Kind::kRateCorrection, weight});
}

// What the contract needs may be less than the plan's cap, and what is bearable less than that.
std::optional<RateCorrectionRule> CorrectionNow(const RunState& run, Batch batch) {
  std::optional<RateCorrectionRule> rule = run.stages.rate_correction;
  if (!rule.has_value() || !run.stages.fairness.has_value()) return rule;
  const FairCap cap = FairCapOfRun(run, batch);
  rule->cap = std::min({rule->cap, cap.needed, cap.bearable});
  return rule;
}

std::vector<Contribution> CombineBuffer(const RunState& run, Batch batch, double learning_rate) {
  const Stages& stages = run.stages;
  MemberTotals members = {.examples = stages.size == SizeStage::kShare ? ExamplesOfMembers(run) : 0,
                          .folded = stages.rate_correction.has_value() ? FoldedOfMembers(run) : 0,
                          .rule = CorrectionNow(run, batch)};
  if (stages.fairness.has_value()) {
    for (const auto& [site, task] : batch) ++members.updates_of[site];
    members.per_weight = LinearStep(stages, learning_rate) / static_cast<double>(batch.size());
  }
  std::vector<Contribution> out;
  out.reserve(batch.size());
  BufferTotals totals = {.count = static_cast<double>(batch.size()),
                         .members = static_cast<double>(run.members.size())};
  for (const auto& [site, task] : batch) {
    Contribution entry = ContributionOf(run, site, task, Contribution::Role::kNew);
    entry.factors.reserve(5);
    AppendSizeFactors(run, members, entry);
    if (stages.staleness_of != StalenessStage::kNone &&
        stages.staleness_of != StalenessStage::kFunctional) {
      entry.factors.push_back(
          {Kind::kStaleness, StalenessFactor(stages, static_cast<double>(entry.staleness))});
    }
    if (stages.mixing.has_value()) entry.factors.push_back({Kind::kMixing, *stages.mixing});
    const double weight = ProductOf(entry.factors);
    totals.weights += weight;
    if (stages.normalisation == NormalisationStage::kLocalSteps) {
      const double steps = ParticipantOf(run, site).tasks.find(task)->second.steps;
      totals.weighted_steps += weight * steps;
      entry.factors.push_back({Kind::kLocalSteps, 1 / steps});
    }
    out.push_back(std::move(entry));
  }
  const double normalisation = NormalisationOfBuffer(stages.normalisation, totals);
  for (Contribution& entry : out) {
    entry.factors.push_back({Kind::kNormalisation, normalisation});
    AppendShorterTask(run, entry);
    AppendLearningRate(stages, learning_rate, entry);
    SetCoefficient(entry);
  }
  return out;
}

// Which task of each site in the batch comes last: the one that enters the table.
std::map<SiteId, TaskId> LastOfEachSite(Batch batch) {
  std::map<SiteId, TaskId> last;
  for (const auto& [site, task] : batch) last[site] = task;
  return last;
}

// age − usual, as the table will be once `entry` is in it.
double BeyondUsual(const RunState& run, const Participant& participant, const Contribution& entry) {
  std::array<uint64_t, kReplacedAgesMax + 1> ages;
  size_t count = 0;
  for (const uint64_t age : participant.replaced_ages) {
    if (count < kReplacedAgesMax) ages[count++] = age;
  }
  if (entry.role == Contribution::Role::kNew && participant.latest_folded.has_value()) {
    const TaskState& replaced = participant.tasks.find(*participant.latest_folded)->second;
    ages[count++] = run.current().value() - replaced.base.value();
  }
  const size_t skipped = count > kReplacedAgesMax ? count - kReplacedAgesMax : 0;
  const double usual = UsualAge(std::span<const uint64_t>(ages.data() + skipped, count - skipped),
                                participant.tasks.find(entry.task)->second.staleness);
  return std::max(0.0, static_cast<double>(entry.staleness) - usual);
}

// With a fairness contract a site that is below its part is let off its s(τ), the more the further.
double LetOff(const RunState& run, const Participant& participant, double staleness) {
  if (!run.stages.fairness.has_value() || participant.fair.deviation >= 0) return staleness;
  return std::pow(staleness, 1 - StrengthAgainst(*run.stages.fairness, participant.fair.deviation));
}

bool IsExpired(const Stages& stages, const Contribution& entry) {
  return stages.entry_age_max.has_value() && entry.staleness > *stages.entry_age_max;
}

std::vector<Contribution> CombineTable(const RunState& run, Batch batch, double learning_rate) {
  const Stages& stages = run.stages;
  const double examples = ExamplesOfMembers(run);
  const std::map<SiteId, TaskId> last = LastOfEachSite(batch);
  std::vector<Contribution> out;
  for (const auto& [site, task] : batch) {
    out.push_back(ContributionOf(run, site, task, Contribution::Role::kNew));
  }
  for (const SiteId& site : run.members) {
    const Participant& participant = ParticipantOf(run, site);
    if (participant.latest_folded.has_value() && !last.contains(site)) {
      Contribution entry =
          ContributionOf(run, site, *participant.latest_folded, Contribution::Role::kTableEntry);
      if (!IsExpired(stages, entry)) out.push_back(std::move(entry));
    }
  }
  double weights = 0;
  for (Contribution& entry : out) {
    const Participant& participant = ParticipantOf(run, entry.site);
    const auto newest = last.find(entry.site);
    if (newest != last.end() && newest->second != entry.task) {
      entry.factors.push_back({Kind::kReplaced, 0});
      continue;
    }
    if (IsExpired(stages, entry)) {
      entry.factors.push_back({Kind::kExpired, 0});
      continue;
    }
    if (stages.size == SizeStage::kShare) {
      entry.factors.push_back(
          {Kind::kSize, static_cast<double>(participant.train_examples) / examples});
    }
    if (stages.staleness_of == StalenessStage::kBeyondUsual) {
      entry.factors.push_back(
          {Kind::kStaleness,
           LetOff(run, participant,
                  StalenessWeight(stages.staleness, BeyondUsual(run, participant, entry)))});
    }
    weights += ProductOf(entry.factors);  // 1 each for a plain mean.
  }
  for (Contribution& entry : out) {
    entry.factors.push_back({Kind::kNormalisation, Inverse(weights)});
    AppendShorterTask(run, entry);
    AppendLearningRate(stages, learning_rate, entry);
    SetCoefficient(entry);
  }
  return out;
}

std::vector<Contribution> CombineCalibrated(const RunState& run, Batch batch,
                                            double learning_rate) {
  const double count = static_cast<double>(batch.size());        // M
  const double sites = static_cast<double>(run.members.size());  // N
  std::map<SiteId, uint64_t> updates_of;
  std::vector<Contribution> out;
  for (const auto& [site, task] : batch) {
    Contribution entry = ContributionOf(run, site, task, Contribution::Role::kNew);
    entry.factors.push_back({Kind::kNormalisation, 1 / count});
    out.push_back(std::move(entry));
    ++updates_of[site];
  }
  for (const SiteId& site : run.members) {
    const Participant& participant = ParticipantOf(run, site);
    if (!participant.latest_folded.has_value()) continue;
    const auto found = updates_of.find(site);
    const double differences =
        found == updates_of.end() ? 0 : static_cast<double>(found->second) / count;
    if (1 / sites == differences) continue;  // The calibration cancels it out.
    Contribution entry =
        ContributionOf(run, site, *participant.latest_folded, Contribution::Role::kTableEntry);
    entry.factors.push_back({Kind::kNormalisation, 1 / sites - differences});
    out.push_back(std::move(entry));
  }
  for (Contribution& entry : out) {
    AppendLearningRate(run.stages, learning_rate, entry);
    SetCoefficient(entry);
  }
  return out;
}

// direction −= coefficient·λ/(ηS)·Δ⊙Δ⊙(w_current − w_base)
VectorStep Compensation(const RunState& run, const Contribution& entry,
                        const VectorName& direction) {
  const double rate = run.plan->config().training().optimizer().sgd().learning_rate();
  const double steps = ParticipantOf(run, entry.site).tasks.find(entry.task)->second.steps;
  VectorStep step;
  step.op = VectorStep::Op::kCompensate;
  step.dst = direction;
  step.x = VectorName::Update(entry.update);
  step.y = VectorName::Model(run.current());
  step.z = VectorName::Model(entry.base);
  step.a = -entry.coefficient * run.stages.delay_compensation / (rate * steps);
  return step;
}

// Adds what the contributions come to.
void AppendSum(const RunState& run, const PendingProgram& pending, const VectorName& direction,
               VectorProgram& program) {
  const VectorName current = VectorName::Model(run.current());
  for (const Contribution& entry : pending.contributions) {
    if (entry.coefficient == 0) continue;
    program.steps.push_back(Axpy(direction, VectorName::Update(entry.update), entry.coefficient));
    if (run.stages.direction == DirectionStage::kCurrent && entry.base != run.current()) {
      program.steps.push_back(Axpy(direction, VectorName::Model(entry.base), entry.coefficient));
      program.steps.push_back(Axpy(direction, current, -entry.coefficient));
    }
    if (run.stages.direction == DirectionStage::kCompensated && entry.base != run.current()) {
      program.steps.push_back(Compensation(run, entry, direction));
    }
  }
}

std::vector<Contribution> CombineLinear(const RunState& run, Batch batch, double learning_rate) {
  switch (run.stages.combine) {
    case CombineStage::kBuffer:
      return CombineBuffer(run, batch, learning_rate);
    case CombineStage::kTable:
      return CombineTable(run, batch, learning_rate);
    case CombineStage::kCalibratedTable:
      return CombineCalibrated(run, batch, learning_rate);
  }
  return {};
}

}  // namespace

double LearningRateFor(const RunState& run, Batch batch) {
  const double rate = LearningRateAt(run.stages.server, run.current());
  if (!run.stages.server.delay.has_value()) return rate;
  std::vector<uint64_t> staleness;
  staleness.reserve(batch.size());
  for (const auto& [site, task] : batch) {
    if (IsValidator(run, site)) continue;
    const Version base = ParticipantOf(run, site).tasks.find(task)->second.base;
    staleness.push_back(run.current().value() - base.value());
  }
  return rate * DelayFactor(*run.stages.server.delay, staleness);
}

std::vector<Contribution> Combine(const RunState& run, Batch batch, double learning_rate) {
  if (run.stages.robust.has_value()) return CombineRobust(run, batch, learning_rate);
  if (run.stages.zeno.has_value()) return CombineScored(run, batch);
  std::vector<Contribution> out = CombineLinear(run, batch, learning_rate);
  for (Contribution& entry : out) AppendClip(run, entry);
  return out;
}

VectorProgram ProgramOf(const RunState& run, const PendingProgram& pending) {
  if (pending.stage == PendingProgram::Stage::kMeasures) return MeasuresOf(run, pending);
  const VectorName current = VectorName::Model(run.current());
  const VectorName next = VectorName::Model(pending.makes);
  const VectorName direction = VectorName::Scratch(0);
  VectorProgram program;
  program.steps.reserve(pending.contributions.size() + 3);
  if (run.stages.robust.has_value()) {
    AppendRobustDirection(run, pending, direction, program);
  } else {
    AppendSum(run, pending, direction, program);
  }
  program.steps.push_back(NormSquared(direction));
  program.steps.push_back(Copy(next, current));
  AppendServerStep(run.stages.server,
                   {.weights = next,
                    .direction = direction,
                    .learning_rate = pending.server_learning_rate,
                    .steps_before = run.optimizer_steps},
                   program);
  // Of the result as well: a direction that is finite may still carry the weights beyond f32.
  program.steps.push_back(NormSquared(next));
  AppendControl(run, pending, program);
  program.result = next;
  return program;
}

FairCap FairCapOfRun(const RunState& run, Batch batch) {
  std::set<SiteId> arrived;
  for (const auto& [site, task] : batch) arrived.insert(site);
  const RateCorrectionRule& rule = *run.stages.rate_correction;
  const double kappa = rule.kappa_per_site * static_cast<double>(run.members.size());
  const double examples = ExamplesOfMembers(run);
  std::vector<RateShare> sites;
  double shares = 0;
  double rates = 0;
  for (const SiteId& site : run.members) {
    const Participant& participant = ParticipantOf(run, site);
    if (!IsLive(run, participant) && !arrived.contains(site)) continue;
    const double share = static_cast<double>(participant.train_examples) / examples;
    // r̂_i times Σc + κ.
    sites.push_back({.share = share, .rate = participant.folded_decayed + kappa * share});
    shares += share;
    rates += sites.back().rate;
  }
  for (RateShare& site : sites) {
    site.share /= shares;
    site.rate /= rates;
  }
  return FairCapOf(*run.stages.fairness, sites);
}

double ExamplesOfMembers(const RunState& run) {
  if (run.members_memo.examples.has_value()) return *run.members_memo.examples;
  double sum = 0;
  for (const SiteId& site : run.members) {
    sum += static_cast<double>(ParticipantOf(run, site).train_examples);
  }
  return sum;
}

double UsualAge(std::span<const uint64_t> replaced_ages, uint64_t staleness_when_accepted) {
  if (replaced_ages.empty()) return 2 * static_cast<double>(staleness_when_accepted) + 1;
  std::vector<uint64_t> sorted(replaced_ages.begin(), replaced_ages.end());
  std::sort(sorted.begin(), sorted.end());
  const size_t half = sorted.size() / 2;
  if (sorted.size() % 2 == 1) return static_cast<double>(sorted[half]);
  return (static_cast<double>(sorted[half - 1]) + static_cast<double>(sorted[half])) / 2;
}

}  // namespace consilium::federation
