#include "aggregator/core/strategies/robust_combine.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include "aggregator/core/strategies/contributions.h"
#include "aggregator/core/strategies/robust_choice.h"
#include "aggregator/core/strategies/robust_rule.h"
#include "aggregator/core/strategies/staleness.h"
#include "aggregator/core/strategies/vector_steps.h"

namespace consilium::federation {
namespace {

using Batch = std::span<const std::pair<SiteId, TaskId>>;
using Contributions = std::vector<Contribution>;
using Factor = WeightFactor::Kind;
using Kind = RobustRule::Kind;

// Fewer have nothing to compare with.
constexpr size_t kComparedMin = 3;

// Updates that are compared with each other: indices of contributions, by site and task.
struct Band {
  std::vector<size_t> members;
  enum class Combine : uint8_t { kByRule, kMean, kShortenedMean } combine = Combine::kByRule;
};

std::vector<size_t> BySite(const Contributions& contributions) {
  std::vector<size_t> order(contributions.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&contributions](size_t a, size_t b) {
    return std::tie(contributions[a].site, contributions[a].task) <
           std::tie(contributions[b].site, contributions[b].task);
  });
  return order;
}

// The freshest first.
std::vector<Band> BandsOf(const RobustRule& rule, const Contributions& contributions) {
  std::map<uint64_t, Band> by_staleness;
  for (const size_t i : BySite(contributions)) {
    const uint64_t band =
        rule.band_versions == 0 ? 0 : contributions[i].staleness / rule.band_versions;
    by_staleness[band].members.push_back(i);
  }
  std::vector<Band> bands;
  for (auto& [staleness, band] : by_staleness) {
    if (band.members.size() < kComparedMin && by_staleness.size() > 1) {
      band.combine = Band::Combine::kShortenedMean;
    } else if (band.members.size() < kComparedMin && rule.kind == Kind::kKrum) {
      band.combine = Band::Combine::kMean;
    }
    bands.push_back(std::move(band));
  }
  return bands;
}

double NormOf(const RunState& run, const Contribution& entry) {
  return run.participants.find(entry.site)->second.tasks.find(entry.task)->second.norm;
}

// The lower one of the middle two, where there are two.
double MedianNorm(const RunState& run, const Contributions& contributions) {
  std::vector<double> norms;
  for (const Contribution& entry : contributions) norms.push_back(NormOf(run, entry));
  std::sort(norms.begin(), norms.end());
  return norms[(norms.size() - 1) / 2];
}

// clip_i: by the run's clip, and in a band that has nothing to compare with.
void AppendShortening(const RunState& run, const std::vector<Band>& bands,
                      Contributions& contributions) {
  for (Contribution& entry : contributions) AppendClip(run, entry);
  for (const Band& band : bands) {
    if (band.combine != Band::Combine::kShortenedMean) continue;
    const double median = MedianNorm(run, contributions);
    for (const size_t i : band.members) {
      contributions[i].factors.push_back(
          {Factor::kBandClip, ShorteningTo(median, NormOf(run, contributions[i]))});
    }
  }
}

// What Δ is multiplied with before the rule sees it.
double ScaleOf(const Contribution& entry) {
  double scale = 1;
  for (const WeightFactor& factor : entry.factors) {
    if (factor.kind == Factor::kRobust) break;
    scale *= factor.value;
  }
  return scale;
}

// η, where it is a factor of the direction.
double StepOf(const RunState& run, const PendingProgram& pending) {
  return PlaceOfLearningRate(run.stages.server) == LearningRatePlace::kInCoefficients
             ? pending.server_learning_rate
             : 1;
}

void SetShare(const RunState& run, double share, double learning_rate, Contribution& entry) {
  entry.factors.push_back({Factor::kRobust, share});
  AppendLearningRate(run.stages, learning_rate, entry);
  SetCoefficient(entry);
}

std::vector<double> ScalesOf(const Contributions& contributions, const Band& band) {
  std::vector<double> scales;
  for (const size_t i : band.members) scales.push_back(ScaleOf(contributions[i]));
  return scales;
}

std::vector<double> SharesByDistance(const RobustRule& rule, const SquaredDistances& distances) {
  if (rule.kind == Kind::kKrum) {
    return KrumShares(distances,
                      {.hostile = HostileOf(rule, distances.size()), .chosen = rule.chosen});
  }
  return WeiszfeldShares(distances, {.iterations = rule.iterations, .smoothing = rule.smoothing});
}

VectorStep TrimmedMean(const VectorName& dst, std::vector<VectorTerm> over, size_t cut) {
  VectorStep step;
  step.op = VectorStep::Op::kTrimmedMean;
  step.dst = dst;
  step.over = std::move(over);
  step.cut = static_cast<uint32_t>(cut);
  return step;
}

// ---- Buckets

using BucketOfSite = std::map<SiteId, uint64_t>;

BucketOfSite BucketsOf(const RunState& run) {
  BucketOfSite buckets;
  uint64_t index = 0;
  for (const auto& [site, participant] : run.participants) {
    buckets[site] = index++ % run.stages.robust->buckets;
  }
  return buckets;
}

// How many of `updates` each bucket has, of the buckets that count.
template <typename Updates, typename SiteOf>
std::map<uint64_t, size_t> UpdatesByBucket(const RunState& run, const Updates& updates,
                                           const SiteOf& site_of) {
  const BucketOfSite bucket_of = BucketsOf(run);
  std::map<uint64_t, size_t> counts;
  for (const SiteId& site : run.members) counts[bucket_of.find(site)->second];
  for (const auto& update : updates) ++counts[bucket_of.find(site_of(update))->second];
  return counts;
}

std::map<uint64_t, size_t> UpdatesByBucket(const RunState& run,
                                           const Contributions& contributions) {
  return UpdatesByBucket(run, contributions,
                         [](const Contribution& entry) -> const SiteId& { return entry.site; });
}

void SetBucketShares(const RunState& run, double learning_rate, Contributions& contributions) {
  const BucketOfSite bucket_of = BucketsOf(run);
  const std::map<uint64_t, size_t> counts = UpdatesByBucket(run, contributions);
  for (Contribution& entry : contributions) {
    const size_t updates = counts.find(bucket_of.find(entry.site)->second)->second;
    SetShare(run, 1 / (static_cast<double>(counts.size()) * static_cast<double>(updates)),
             learning_rate, entry);
  }
}

void AppendBucketSteps(const RunState& run, const PendingProgram& pending,
                       const VectorName& direction, VectorProgram& program) {
  const BucketOfSite bucket_of = BucketsOf(run);
  std::map<uint64_t, std::vector<size_t>> members;
  for (const size_t i : BySite(pending.contributions)) {
    members[bucket_of.find(pending.contributions[i].site)->second].push_back(i);
  }
  std::vector<VectorTerm> means;
  for (const auto& [bucket, updates] : members) {
    const VectorName mean = VectorName::Scratch(direction.number + 1 + means.size());
    for (const size_t i : updates) {
      const Contribution& entry = pending.contributions[i];
      program.steps.push_back(Axpy(mean, VectorName::Update(entry.update),
                                   ScaleOf(entry) / static_cast<double>(updates.size())));
    }
    means.push_back({mean});
  }
  // Nothing writes to these: no change.
  for (uint32_t i = 0; i < pending.empty_buckets; ++i) {
    means.push_back({VectorName::Scratch(direction.number + 1 + means.size())});
  }
  const VectorName median = VectorName::Scratch(direction.number + 1 + means.size());
  const size_t cut = CutOf(*run.stages.robust, means.size());
  program.steps.push_back(TrimmedMean(median, std::move(means), cut));
  program.steps.push_back(Axpy(direction, median, StepOf(run, pending)));
}

// ---- Bands

void SetNominalShares(const RunState& run, double learning_rate, Contributions& contributions) {
  const double share = 1 / static_cast<double>(contributions.size());
  for (Contribution& entry : contributions) SetShare(run, share, learning_rate, entry);
}

void AppendUpdate(const Contribution& entry, const VectorName& direction, VectorProgram& program) {
  if (entry.coefficient == 0) return;
  program.steps.push_back(Axpy(direction, VectorName::Update(entry.update), entry.coefficient));
}

void AppendBandSteps(const RunState& run, const PendingProgram& pending,
                     const VectorName& direction, VectorProgram& program) {
  const Contributions& contributions = pending.contributions;
  uint64_t scratch = direction.number;
  for (const Band& band : BandsOf(*run.stages.robust, contributions)) {
    if (band.combine != Band::Combine::kByRule) {
      for (const size_t i : band.members) AppendUpdate(contributions[i], direction, program);
      continue;
    }
    std::vector<VectorTerm> over;
    for (const size_t i : band.members) {
      over.push_back({VectorName::Update(contributions[i].update), ScaleOf(contributions[i])});
    }
    const double weight =
        static_cast<double>(over.size()) / static_cast<double>(contributions.size());
    const VectorName middle = VectorName::Scratch(++scratch);
    const size_t cut = CutOf(*run.stages.robust, over.size());
    program.steps.push_back(TrimmedMean(middle, std::move(over), cut));
    program.steps.push_back(Axpy(direction, middle, weight * StepOf(run, pending)));
  }
}

}  // namespace

Contributions CombineRobust(const RunState& run, Batch batch, double learning_rate) {
  const RobustRule& rule = *run.stages.robust;
  Contributions out;
  out.reserve(batch.size());
  for (const auto& [site, task] : batch) {
    Contribution entry = ContributionOf(run, site, task, Contribution::Role::kNew);
    entry.factors.reserve(5);
    entry.factors.push_back(
        {Factor::kStaleness,
         StalenessWeight(run.stages.staleness, static_cast<double>(entry.staleness))});
    out.push_back(std::move(entry));
  }
  AppendShortening(run, BandsOf(rule, out), out);
  if (NeedsDistances(rule)) {
    for (Contribution& entry : out) entry.coefficient = 0;
  } else if (rule.kind == Kind::kBuckets) {
    SetBucketShares(run, learning_rate, out);
  } else {
    SetNominalShares(run, learning_rate, out);
  }
  return out;
}

void AppendDistanceSteps(const RunState& run, const Contributions& contributions,
                         VectorProgram& program) {
  for (const Band& band : BandsOf(*run.stages.robust, contributions)) {
    if (band.combine != Band::Combine::kByRule) continue;
    VectorStep step;
    step.op = VectorStep::Op::kGram;
    for (const size_t i : band.members) {
      step.over.push_back({VectorName::Update(contributions[i].update)});
    }
    program.steps.push_back(std::move(step));
  }
}

void DecideByDistances(const RunState& run, std::span<const double> scalars,
                       PendingProgram& pending) {
  const RobustRule& rule = *run.stages.robust;
  const double all = static_cast<double>(pending.contributions.size());
  for (const Band& band : BandsOf(rule, pending.contributions)) {
    const size_t count = band.members.size();
    std::vector<double> shares(count, 1 / static_cast<double>(count));
    if (band.combine == Band::Combine::kByRule) {
      const size_t products = count * (count + 1) / 2;
      shares = SharesByDistance(
          rule, SquaredDistances(scalars.first(products), ScalesOf(pending.contributions, band)));
      scalars = scalars.subspan(products);
    }
    const double weight = static_cast<double>(count) / all;
    for (size_t i = 0; i < count; ++i) {
      SetShare(run, weight * shares[i], pending.server_learning_rate,
               pending.contributions[band.members[i]]);
    }
  }
}

void AppendRobustDirection(const RunState& run, const PendingProgram& pending,
                           const VectorName& direction, VectorProgram& program) {
  const RobustRule& rule = *run.stages.robust;
  if (rule.kind == Kind::kBuckets) {
    AppendBucketSteps(run, pending, direction, program);
  } else if (NeedsDistances(rule)) {
    for (const size_t i : BySite(pending.contributions)) {
      AppendUpdate(pending.contributions[i], direction, program);
    }
  } else {
    AppendBandSteps(run, pending, direction, program);
  }
}

bool HasBuckets(const RunState& run) {
  return run.stages.robust.has_value() && run.stages.robust->kind == Kind::kBuckets;
}

bool AreBucketsReady(const RunState& run) {
  if (run.buffer.empty()) return false;
  const std::map<uint64_t, size_t> counts = UpdatesByBucket(
      run, run.buffer, [](const auto& entry) -> const SiteId& { return entry.first; });
  size_t filled = 0;
  size_t patient = 0;
  for (const auto& [bucket, updates] : counts) {
    filled += updates > 0 ? 1 : 0;
    patient += updates >= kBucketUpdatesPatience ? 1 : 0;
  }
  return filled == counts.size() || 2 * patient >= counts.size();
}

uint32_t EmptyBuckets(const RunState& run, const Contributions& contributions) {
  if (!HasBuckets(run)) return 0;
  uint32_t empty = 0;
  for (const auto& [bucket, updates] : UpdatesByBucket(run, contributions)) {
    empty += updates == 0 ? 1 : 0;
  }
  return empty;
}

}  // namespace consilium::federation
