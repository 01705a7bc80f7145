#include "models/spec/robust_checks.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_format.h"
#include "protocol/wire/vector_program.h"

namespace consilium {
namespace {

using Config = v1::AggregationConfig;

constexpr uint32_t kComparedMin = 3;  // Of two nobody can say which is the hostile one.
constexpr uint32_t kHostileMax = (kStepVectorsMax - 3) / 2;
constexpr uint32_t kIterationsMax = 32;
constexpr uint32_t kBucketsMax = kStepVectorsMax;  // Their means are compared in one step.

// Presets whose mean a `combine` may replace: one over updates that come once, each on its own.
bool MayCombine(Config::Preset preset) {
  switch (preset) {
    case Config::FEDAVG:
    case Config::FEDBUFF:
    case Config::FEDADAM:
    case Config::FEDYOGI:
    case Config::FEDADAGRAD:
    case Config::FEDAMSGRAD:
    case Config::FEDPROX:
    case Config::FADAS:
    case Config::FEDBN:
    case Config::FEDPER:
    case Config::DITTO:
      return true;
    default:
      return IsRobustPreset(preset) && preset != Config::NORM_BOUND;
  }
}

// Whether the preset adds updates as they come, so that a shorter one counts less.
bool AddsUpdates(Config::Preset preset) {
  return preset != Config::FEDASYNC && preset != Config::SCAFFOLD && preset != Config::DC_ASGD &&
         preset != Config::FEDBUFF_APPFL && preset != Config::FEDBUFF_PLATO;
}

// The combine that the preset has; KIND_NOT_SET where it has a mean.
v1::Combine::KindCase CombineOf(Config::Preset preset) {
  switch (preset) {
    case Config::COORDINATE_MEDIAN:
      return v1::Combine::kCoordinateMedian;
    case Config::TRIMMED_MEAN:
      return v1::Combine::kTrimmedMean;
    case Config::KRUM:
    case Config::MULTI_KRUM:
      return v1::Combine::kKrum;
    case Config::GEOMETRIC_MEDIAN:
      return v1::Combine::kGeometricMedian;
    case Config::BASGD:
      return v1::Combine::kBuckets;
    default:
      return v1::Combine::KIND_NOT_SET;
  }
}

void FillCombine(Config::Preset preset, v1::Combine& combine) {
  if (combine.kind_case() == v1::Combine::KIND_NOT_SET) {
    switch (CombineOf(preset)) {
      case v1::Combine::kCoordinateMedian:
        combine.mutable_coordinate_median();
        break;
      case v1::Combine::kTrimmedMean:
        combine.mutable_trimmed_mean();
        break;
      case v1::Combine::kKrum:
        combine.mutable_krum();
        break;
      case v1::Combine::kGeometricMedian:
        combine.mutable_geometric_median();
        break;
      case v1::Combine::kBuckets:
        combine.mutable_buckets();
        break;
      default:
        break;
    }
  }
  if (combine.has_trimmed_mean() && !combine.trimmed_mean().has_share()) {
    combine.mutable_trimmed_mean()->set_share(0.2);
  }
  if (combine.has_krum() && !combine.krum().has_chosen()) {
    combine.mutable_krum()->set_chosen(preset == Config::MULTI_KRUM ? 0 : 1);
  }
  if (combine.has_geometric_median()) {
    v1::GeometricMedian& median = *combine.mutable_geometric_median();
    if (median.iterations() == 0) median.set_iterations(8);
    if (median.smoothing() == 0) median.set_smoothing(1e-6);
  }
}

void FillTrigger(Config::Preset preset, v1::Trigger& trigger) {
  const bool each = preset == Config::ASYNCFEDED || preset == Config::BASGD;
  if (trigger.kind_case() == v1::Trigger::KIND_NOT_SET) {
    if (each) {
      trigger.mutable_buffer();
    } else {
      trigger.mutable_barrier();
    }
  }
  if (each && trigger.has_buffer() && trigger.buffer().updates() == 0) {
    trigger.mutable_buffer()->set_updates(1);
  }
}

// Updates that a version needs.
uint32_t UpdatesMin(const v1::Combine& combine) {
  if (!combine.has_krum()) return kComparedMin;
  return 2 * std::min(combine.krum().hostile_max(), kHostileMax) + 3;
}

void CheckRange(const v1::Combine& combine, Complaints& complaints) {
  const std::string path = "aggregation.combine";
  if (combine.has_trimmed_mean()) {
    const double share = combine.trimmed_mean().share();
    complaints.Require(share >= 0 && share < 0.5, path + ".trimmed_mean.share",
                       "must be at least 0 and below 0.5");
  } else if (combine.has_krum()) {
    complaints.Require(combine.krum().hostile_max() <= kHostileMax, path + ".krum.hostile_max",
                       absl::StrFormat("must be at most %d", kHostileMax));
  } else if (combine.has_geometric_median()) {
    complaints.Require(combine.geometric_median().iterations() <= kIterationsMax,
                       path + ".geometric_median.iterations", "must be from 1 to 32");
    complaints.Require(IsPositive(combine.geometric_median().smoothing()),
                       path + ".geometric_median.smoothing", "must be above 0");
  } else if (combine.has_buckets()) {
    const uint32_t buckets = combine.buckets().buckets();
    complaints.Require(buckets >= 2 && buckets <= kBucketsMax, path + ".buckets.buckets",
                       absl::StrFormat("must be given, from 2 to %d", kBucketsMax));
    complaints.Require(combine.band_versions() == 0, path + ".band_versions",
                       "has no place with buckets, which hold updates of any age; remove it");
  }
}

// Whether the updates of a version are enough to be compared, and not too many.
void CheckCompared(const v1::RunConfig& config, Complaints& complaints) {
  const Config& aggregation = config.aggregation();
  const uint32_t updates_min = UpdatesMin(aggregation.combine());
  const std::string needs =
      absl::StrFormat("must be at least %d: %s", updates_min,
                      aggregation.combine().has_krum()
                          ? "Krum needs 2·hostile_max + 3 updates"
                          : "a robust rule has nothing to compare among fewer updates");
  if (aggregation.trigger().has_buffer()) {
    const uint32_t updates = aggregation.trigger().buffer().updates();
    complaints.Require(updates >= updates_min, "aggregation.trigger.buffer.updates", needs);
    complaints.Require(updates <= kStepVectorsMax, "aggregation.trigger.buffer.updates",
                       absl::StrFormat("must be at most %d with a robust rule, which compares all "
                                       "updates of a version at once",
                                       kStepVectorsMax));
    return;
  }
  const size_t sites = static_cast<size_t>(config.participation().sites_size());
  complaints.Require(sites == 0 || sites >= updates_min, "participation.sites", needs);
  const uint32_t drawn = aggregation.trigger().barrier().sites_per_round();
  complaints.Require(drawn == 0 || drawn >= updates_min,
                     "aggregation.trigger.barrier.sites_per_round", needs);
  complaints.Require(sites <= kStepVectorsMax, "participation.sites",
                     absl::StrFormat("must be at most %d with a robust rule and a barrier; take a "
                                     "buffer or BASGD",
                                     kStepVectorsMax));
}

void CheckBuckets(const v1::RunConfig& config, Complaints& complaints) {
  const int sites = config.participation().sites_size();
  const uint32_t buckets = config.aggregation().combine().buckets().buckets();
  complaints.Require(sites == 0 || buckets <= static_cast<uint32_t>(sites),
                     "aggregation.combine.buckets.buckets",
                     "must be at most the number of sites, or a bucket has none");
  complaints.Require(!config.aggregation().trigger().has_barrier(), "aggregation.trigger.barrier",
                     "has no place with buckets, which wait for each other and not for each site; "
                     "remove it");
}

}  // namespace

bool IsRobustPreset(Config::Preset preset) {
  return (preset >= Config::COORDINATE_MEDIAN && preset <= Config::NORM_BOUND) ||
         preset == Config::BASGD;
}

void FillRobustStages(Config& config) {
  const Config::Preset preset = config.preset();
  if (CombineOf(preset) != v1::Combine::KIND_NOT_SET || config.has_combine()) {
    FillCombine(preset, *config.mutable_combine());
  }
  v1::Staleness& staleness = *config.mutable_staleness();
  if (preset == Config::ASYNCFEDED || IsRobustPreset(preset)) {
    FillTrigger(preset, *config.mutable_trigger());
    const bool open = staleness.kind_case() == v1::Staleness::KIND_NOT_SET;
    if (open && preset == Config::ASYNCFEDED) staleness.mutable_functional();
    if (open && preset != Config::ASYNCFEDED) staleness.mutable_constant();
  }
  if (!staleness.has_functional()) return;
  v1::Staleness::Functional& functional = *staleness.mutable_functional();
  if (functional.lambda() == 0) functional.set_lambda(1);
  if (functional.epsilon() == 0) functional.set_epsilon(1);
}

void CheckRobustness(const v1::RunConfig& config, Complaints& complaints) {
  const Config& aggregation = config.aggregation();
  const double clip_norm = aggregation.transform().clip_norm();
  complaints.Require(IsNotNegative(clip_norm), "aggregation.transform.clip_norm",
                     "must be 0 or more");
  complaints.Require(aggregation.preset() != Config::NORM_BOUND || clip_norm > 0,
                     "aggregation.transform.clip_norm", "must be given with NORM_BOUND");
  complaints.Require(AddsUpdates(aggregation.preset()) || clip_norm == 0,
                     "aggregation.transform.clip_norm",
                     "has no place with " + Config::Preset_Name(aggregation.preset()) +
                         ", which mixes models, compensates updates or reads a gradient out "
                         "of them, and does not add them as they are");
  if (aggregation.preset() == Config::ADAPTIVE) {
    complaints.Require(clip_norm == 0, "aggregation.transform.clip_norm",
                       "has no place in ADAPTIVE, whose contract would undo what it takes from who "
                       "sends long updates; take FEDBUFF");
    complaints.Require(!aggregation.has_combine(), "aggregation.combine",
                       "has no place in ADAPTIVE, whose contract weighs updates, where a robust "
                       "rule counts them alike; take FEDBUFF");
    return;
  }
  if (!aggregation.has_combine()) return;
  const v1::Combine& combine = aggregation.combine();
  const v1::Combine::KindCase own = CombineOf(aggregation.preset());
  complaints.Require(combine.kind_case() != v1::Combine::KIND_NOT_SET, "aggregation.combine",
                     "must name a rule; a mean compares no updates");
  complaints.Require(
      MayCombine(aggregation.preset()), "aggregation.combine",
      "replaces a mean over the updates of a version, which this preset has not (a table counts "
      "updates again, and one update has nothing to be compared with); take FEDAVG or FEDBUFF");
  complaints.Require(own == v1::Combine::KIND_NOT_SET || own == combine.kind_case(),
                     "aggregation.combine", "is another rule than the preset's; take FEDAVG");
  complaints.Require(!aggregation.has_rate_correction(), "aggregation.rate_correction",
                     "has no place with a robust rule, to which all updates are equal; remove it");
  complaints.Require(aggregation.trigger().has_buffer() || aggregation.trigger().has_barrier(),
                     "aggregation.trigger",
                     "must be a buffer or a barrier with a robust rule, which compares the updates "
                     "of a version");
  CheckRange(combine, complaints);
  if (combine.has_buckets()) {
    CheckBuckets(config, complaints);
  } else {
    CheckCompared(config, complaints);
  }
}

}  // namespace consilium
