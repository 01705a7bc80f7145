#include "sim/engine/scenario_checks.h"

#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/text_format.h"
#include "protocol/wire/text_path.h"
#include "sim/datasets/named.h"
#include "sim/engine/attacks.h"
#include "sim/engine/speeds.h"
#include "site_agent/core/release_rules.h"

namespace consilium {
namespace {

constexpr double kFactorMax = 1e6;
constexpr double kBytesPerSecondMax = 1e15;
constexpr double kFaultRateMax = 0.9;
// Each stream carries a few messages before it does any good.
constexpr double kMessageLossRateMax = 0.3;
constexpr uint64_t kStoppedAfterMsMax = 1'000'000'000'000;
constexpr uint32_t kJournalMsMax = 3'600'000;
constexpr uint64_t kCrashEveryMsMax = 1'000'000'000'000;
constexpr uint32_t kLatencyMsMax = 3'600'000;
constexpr uint32_t kMinimumCountMax = 1'000'000;
constexpr double kDriftPpmMax = 100'000;
constexpr double kTraceSecondsMax = 1e9;

absl::Status Refuse(absl::string_view field, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", why));
}

struct Range {
  double min = 0;
  double max = 0;
  enum class Min : uint8_t { kIncluded, kExcluded } ends = Min::kIncluded;
};

// NaN is in no range.
absl::Status CheckRange(absl::string_view field, double value, const Range& range) {
  const bool above = range.ends == Range::Min::kExcluded ? value > range.min : value >= range.min;
  if (above && value <= range.max) return absl::OkStatus();
  return Refuse(field, absl::StrFormat("must lie in %s%g, %g]",
                                       range.ends == Range::Min::kExcluded ? "(" : "[", range.min,
                                       range.max));
}

absl::Status CheckFactor(absl::string_view field, double value) {
  return CheckRange(field, value, {0, kFactorMax, Range::Min::kExcluded});
}

// 0 stands for the default.
absl::Status CheckFactorOrDefault(absl::string_view field, double value) {
  return value == 0 ? absl::OkStatus() : CheckFactor(field, value);
}

absl::Status CheckSpeed(absl::string_view field, const v1::Speed& speed) {
  const auto of = [&field](absl::string_view name) { return absl::StrCat(field, ".", name); };
  switch (speed.kind_case()) {
    case v1::Speed::kConstant:
      return CheckFactor(of("constant"), speed.constant());
    case v1::Speed::kUniformMax:
      return CheckRange(of("uniform_max"), speed.uniform_max(), {1, kFactorMax});
    case v1::Speed::kParetoShape:
      return CheckRange(of("pareto_shape"), speed.pareto_shape(), {0.1, kFactorMax});
    case v1::Speed::kLogNormalSigma:
      return CheckRange(of("log_normal_sigma"), speed.log_normal_sigma(),
                        {0, 10, Range::Min::kExcluded});
    case v1::Speed::kHalfNormalSigma:
      return CheckFactor(of("half_normal_sigma"), speed.half_normal_sigma());
    case v1::Speed::kExponentialMean:
      return CheckFactor(of("exponential_mean"), speed.exponential_mean());
    case v1::Speed::KIND_NOT_SET:
      return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::Status CheckShares(const v1::Partitioned& source) {
  constexpr absl::string_view kField = "dataset.partitioned.shares";
  for (const double share : source.shares()) {
    if (!(share > 0) || !std::isfinite(share)) return Refuse(kField, "every share must be above 0");
  }
  if (source.shares_size() > 0 && source.size_power_law() != 0) {
    return Refuse(kField, "shares and size_power_law both say how large the sites are");
  }
  if (source.labels_case() == v1::Partitioned::kShardsPerSite &&
      (source.shares_size() > 0 || source.size_power_law() != 0)) {
    return Refuse("dataset.partitioned.shards_per_site",
                  "shards are of equal size; leave shares and size_power_law out");
  }
  return absl::OkStatus();
}

absl::Status CheckSiteCount(const v1::Partitioned& source) {
  const uint64_t sites =
      std::max({uint64_t{source.sites()}, static_cast<uint64_t>(source.shares_size()),
                static_cast<uint64_t>(source.site_ids_size())});
  if (sites == 0) {
    return Refuse("dataset.partitioned.sites", "say how many, or give shares or site_ids");
  }
  if (sites > limits::kSitesMax) {
    return Refuse("dataset.partitioned.sites",
                  absl::StrCat("there are up to ", limits::kSitesMax, " sites"));
  }
  const auto differs = [sites](uint64_t given) { return given != 0 && given != sites; };
  if (differs(source.sites()) || differs(static_cast<uint64_t>(source.shares_size())) ||
      differs(static_cast<uint64_t>(source.site_ids_size()))) {
    return Refuse("dataset.partitioned.sites", "sites, shares and site_ids say different numbers");
  }
  return absl::OkStatus();
}

// They become names in tables, reports and journals.
absl::Status CheckId(absl::string_view field, const std::string& site) {
  const absl::Status legal = CheckSiteId(site);
  return legal.ok() ? legal : Refuse(field, legal.message());
}

absl::Status CheckPartitioned(const v1::Partitioned& source) {
  CONSILIUM_RETURN_IF_ERROR(CheckSiteCount(source));
  for (int i = 0; i < source.site_ids_size(); ++i) {
    CONSILIUM_RETURN_IF_ERROR(
        CheckId(absl::StrFormat("dataset.partitioned.site_ids[%d]", i), source.site_ids(i)));
  }
  CONSILIUM_RETURN_IF_ERROR(CheckShares(source));
  if (source.labels_case() == v1::Partitioned::kDirichlet) {
    CONSILIUM_RETURN_IF_ERROR(
        CheckRange("dataset.partitioned.dirichlet", source.dirichlet(), {0, 1e6}));
  }
  if (source.labels_case() == v1::Partitioned::kShardsPerSite) {
    CONSILIUM_RETURN_IF_ERROR(
        CheckRange("dataset.partitioned.shards_per_site", source.shards_per_site(), {1, 1000}));
  }
  CONSILIUM_RETURN_IF_ERROR(
      CheckRange("dataset.partitioned.size_power_law", source.size_power_law(), {0, 10}));
  return CheckRange("dataset.partitioned.feature_noise", source.feature_noise(), {0, 100});
}

// A table is one file or arrays of several, not both.
template <typename Source>
absl::Status CheckTable(absl::string_view field, const Source& source) {
  if (!source.file().empty() && !source.arrays().empty()) {
    return Refuse(field, "file and arrays both say where the table is");
  }
  for (const v1::ArrayColumn& column : source.arrays()) {
    if (column.column().empty() || column.parts().empty()) {
      return Refuse(absl::StrCat(field, ".arrays"), "each needs a column and a part");
    }
    for (const v1::ArrayPart& part : column.parts()) {
      if (!part.file().empty()) continue;
      return Refuse(absl::StrCat(field, ".arrays (", column.column(), ").parts"), "name a file");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckNatural(const v1::Natural& source) {
  if (static_cast<size_t>(source.sites_size()) > limits::kSitesMax) {
    return Refuse("dataset.natural.sites",
                  absl::StrCat("there are up to ", limits::kSitesMax, " sites"));
  }
  std::set<std::string> names;
  for (int i = 0; i < source.sites_size(); ++i) {
    const std::string& site = source.sites(i).site_id();
    CONSILIUM_RETURN_IF_ERROR(
        CheckId(absl::StrFormat("dataset.natural.sites[%d].site_id", i), site));
    const std::string field = absl::StrCat("dataset.natural (", site, ")");
    if (!names.insert(site).second) return Refuse(field, "is there twice");
    CONSILIUM_RETURN_IF_ERROR(CheckTable(field, source.sites(i)));
  }
  return absl::OkStatus();
}

absl::Status CheckTables(const v1::Dataset& dataset) {
  CONSILIUM_RETURN_IF_ERROR(CheckTable("dataset.partitioned", dataset.partitioned()));
  CONSILIUM_RETURN_IF_ERROR(CheckTable("dataset.together", dataset.together()));
  return CheckNatural(dataset.natural());
}

absl::Status CheckOverrides(const v1::SitesConfig& sites) {
  std::set<std::string> names;
  for (const v1::SiteOverride& own : sites.overrides()) {
    const std::string field = absl::StrCat("sites.overrides (", own.site_id(), ")");
    if (!names.insert(own.site_id()).second) return Refuse(field, "is there twice");
    CONSILIUM_RETURN_IF_ERROR(
        CheckFactorOrDefault(absl::StrCat(field, ".slowdown"), own.slowdown()));
    CONSILIUM_RETURN_IF_ERROR(CheckRange(absl::StrCat(field, ".upload_bytes_per_s"),
                                         own.upload_bytes_per_s(), {0, kBytesPerSecondMax}));
    CONSILIUM_RETURN_IF_ERROR(CheckRange(absl::StrCat(field, ".download_bytes_per_s"),
                                         own.download_bytes_per_s(), {0, kBytesPerSecondMax}));
    CONSILIUM_RETURN_IF_ERROR(
        CheckRange(absl::StrCat(field, ".latency_ms"), own.latency_ms(), {0, kLatencyMsMax}));
  }
  return absl::OkStatus();
}

absl::Status CheckLinks(const v1::Links& links) {
  CONSILIUM_RETURN_IF_ERROR(CheckRange("sites.links.upload_bytes_per_s", links.upload_bytes_per_s(),
                                       {0, kBytesPerSecondMax}));
  CONSILIUM_RETURN_IF_ERROR(CheckRange("sites.links.download_bytes_per_s",
                                       links.download_bytes_per_s(), {0, kBytesPerSecondMax}));
  return CheckSpeed("sites.links.slowdown", links.slowdown());
}

absl::Status CheckAvailability(const v1::SitesConfig& sites) {
  if (!sites.has_availability()) return absl::OkStatus();
  if (sites.availability().period_ms() == 0) {
    return Refuse("sites.availability.period_ms", "must be at least 1");
  }
  return CheckRange("sites.availability.open_share", sites.availability().open_share(),
                    {0, 1, Range::Min::kExcluded});
}

absl::Status CheckTrace(const v1::SitesConfig& sites) {
  std::map<std::string, double> last;
  const double repeat_s = sites.trace_repeat_ms() / 1000.0;
  for (int i = 0; i < sites.trace_size(); ++i) {
    const v1::TracePoint& point = sites.trace(i);
    const std::string field = absl::StrFormat("sites.trace[%d] (%s)", i, point.site_id());
    CONSILIUM_RETURN_IF_ERROR(
        CheckRange(absl::StrCat(field, ".time_s"), point.time_s(), {0, kTraceSecondsMax}));
    CONSILIUM_RETURN_IF_ERROR(
        CheckFactorOrDefault(absl::StrCat(field, ".slowdown"), point.slowdown()));
    CONSILIUM_RETURN_IF_ERROR(CheckRange(absl::StrCat(field, ".upload_bytes_per_s"),
                                         point.upload_bytes_per_s(), {0, kBytesPerSecondMax}));
    CONSILIUM_RETURN_IF_ERROR(CheckRange(absl::StrCat(field, ".download_bytes_per_s"),
                                         point.download_bytes_per_s(), {0, kBytesPerSecondMax}));
    const auto before = last.find(point.site_id());
    if (before != last.end() && point.time_s() <= before->second) {
      return Refuse(absl::StrCat(field, ".time_s"), "the times of a site must rise");
    }
    if (repeat_s > 0 && point.time_s() >= repeat_s) {
      return Refuse(absl::StrCat(field, ".time_s"), "must be below trace_repeat_ms");
    }
    last[point.site_id()] = point.time_s();
  }
  return absl::OkStatus();
}

absl::Status CheckFaults(const v1::Faults& faults) {
  const std::pair<absl::string_view, double> rates[] = {
      {"upload_loss_rate", faults.upload_loss_rate()},
      {"duplicate_rate", faults.duplicate_rate()},
      {"link_drop_rate", faults.link_drop_rate()},
      {"message_duplicate_rate", faults.message_duplicate_rate()},
      {"reorder_rate", faults.reorder_rate()},
      {"crash_rate", faults.crash_rate()},
      {"leave_rate", faults.leave_rate()},
  };
  for (const auto& [name, rate] : rates) {
    CONSILIUM_RETURN_IF_ERROR(
        CheckRange(absl::StrCat("sites.faults.", name), rate, {0, kFaultRateMax}));
  }
  CONSILIUM_RETURN_IF_ERROR(CheckRange("sites.faults.message_loss_rate", faults.message_loss_rate(),
                                       {0, kMessageLossRateMax}));
  return CheckRange("sites.faults.clock_drift_max_ppm", faults.clock_drift_max_ppm(),
                    {0, kDriftPpmMax});
}

absl::Status CheckAttackKind(absl::string_view field, const v1::Attack& attack) {
  const auto of = [&field](absl::string_view name) { return absl::StrCat(field, ".", name); };
  switch (attack.kind_case()) {
    case v1::Attack::kSignFlip:
      return CheckFactorOrDefault(of("sign_flip.scale"), attack.sign_flip().scale());
    case v1::Attack::kNoise:
      return CheckFactorOrDefault(of("noise.deviation"), attack.noise().deviation());
    case v1::Attack::kBackdoor:
      if (attack.backdoor().trigger().empty()) {
        return Refuse(of("backdoor.trigger"), "name at least one column and its value");
      }
      CONSILIUM_RETURN_IF_ERROR(
          CheckFactorOrDefault(of("backdoor.scale"), attack.backdoor().scale()));
      return CheckRange(of("backdoor.poisoned_share"), attack.backdoor().poisoned_share(), {0, 1});
    case v1::Attack::kLabelFlip:
    case v1::Attack::kFreeRider:
      return absl::OkStatus();
    case v1::Attack::KIND_NOT_SET:
      return Refuse(field, "does not say what its sites do");
  }
  return absl::OkStatus();
}

absl::Status CheckAttacks(const v1::SitesConfig& sites) {
  std::set<std::string> named;
  double share = 0;
  for (int i = 0; i < sites.attacks_size(); ++i) {
    const v1::Attack& attack = sites.attacks(i);
    const std::string field = absl::StrFormat("sites.attacks[%d]", i);
    for (const std::string& site : attack.sites()) {
      if (!named.insert(site).second) {
        return Refuse(field, absl::StrCat("the site '", site, "' attacks twice"));
      }
    }
    CONSILIUM_RETURN_IF_ERROR(CheckRange(absl::StrCat(field, ".share"), attack.share(), {0, 1}));
    share += attack.share();
    CONSILIUM_RETURN_IF_ERROR(CheckAttackKind(field, attack));
  }
  if (share > 1) return Refuse("sites.attacks", "the shares are more than all sites");
  return absl::OkStatus();
}

absl::Status CheckSites(const v1::SitesConfig& sites) {
  CONSILIUM_RETURN_IF_ERROR(CheckSpeed("sites.speed", sites.speed()));
  CONSILIUM_RETURN_IF_ERROR(CheckSpeed("sites.task_speed", sites.task_speed()));
  CONSILIUM_RETURN_IF_ERROR(CheckRange("sites.latency_ms", sites.latency_ms(), {0, kLatencyMsMax}));
  if (sites.minimum_count() != 0) {
    CONSILIUM_RETURN_IF_ERROR(CheckRange("sites.minimum_count", sites.minimum_count(),
                                         {site::kMinimumCountMin, kMinimumCountMax}));
  }
  CONSILIUM_RETURN_IF_ERROR(CheckOverrides(sites));
  CONSILIUM_RETURN_IF_ERROR(CheckLinks(sites.links()));
  CONSILIUM_RETURN_IF_ERROR(CheckAvailability(sites));
  CONSILIUM_RETURN_IF_ERROR(CheckTrace(sites));
  CONSILIUM_RETURN_IF_ERROR(CheckFaults(sites.faults()));
  return CheckAttacks(sites);
}

}  // namespace

absl::Status CheckScenario(const v1::Scenario& scenario) {
  CONSILIUM_RETURN_IF_ERROR(CheckTables(scenario.dataset()));
  if (scenario.dataset().has_partitioned()) {
    CONSILIUM_RETURN_IF_ERROR(CheckPartitioned(scenario.dataset().partitioned()));
  }
  if (scenario.stopped_after_ms() > kStoppedAfterMsMax) {
    return Refuse("stopped_after_ms", absl::StrCat("is up to ", kStoppedAfterMsMax));
  }
  const v1::AggregatorProcess& aggregator = scenario.aggregator();
  if (aggregator.journal_ms() > kJournalMsMax) {
    return Refuse("aggregator.journal_ms", absl::StrCat("is up to ", kJournalMsMax));
  }
  if (aggregator.crash_every_ms() > kCrashEveryMsMax) {
    return Refuse("aggregator.crash_every_ms", absl::StrCat("is up to ", kCrashEveryMsMax));
  }
  return CheckSites(scenario.sites());
}

absl::Status CheckScenarioAgainst(const v1::Scenario& scenario, const v1::RunPlan& plan,
                                  const FederationData& data) {
  const auto check = [&data](absl::string_view field, const std::string& site) {
    if (data.contains(SiteId(site))) return absl::OkStatus();
    return Refuse(field, absl::StrCat("the scenario has no site '", site, "'"));
  };
  for (const v1::SiteOverride& own : scenario.sites().overrides()) {
    CONSILIUM_RETURN_IF_ERROR(check("sites.overrides", own.site_id()));
  }
  for (const v1::TracePoint& point : scenario.sites().trace()) {
    CONSILIUM_RETURN_IF_ERROR(check("sites.trace", point.site_id()));
  }
  for (const v1::Attack& attack : scenario.sites().attacks()) {
    for (const std::string& site : attack.sites()) {
      CONSILIUM_RETURN_IF_ERROR(check("sites.attacks", site));
    }
    CONSILIUM_RETURN_IF_ERROR(CheckAttackOnData(attack, plan.contract()));
  }
  return absl::OkStatus();
}

absl::Status CheckScenarioOnWallClock(const v1::Scenario& scenario) {
  const v1::SitesConfig& sites = scenario.sites();
  constexpr absl::string_view kWhy = "is played on virtual time, which a wall clock has not";
  if (sites.faults().ByteSizeLong() > 0) return Refuse("sites.faults", kWhy);
  if (sites.has_availability()) return Refuse("sites.availability", kWhy);
  if (sites.trace_size() > 0) return Refuse("sites.trace", kWhy);
  if (scenario.stopped_after_ms() > 0) return Refuse("stopped_after_ms", kWhy);
  if (scenario.aggregator().ByteSizeLong() > 0) return Refuse("aggregator", kWhy);
  return absl::OkStatus();
}

v1::Scenario WithoutDurations(v1::Scenario scenario) {
  v1::SitesConfig kept;
  kept.set_minimum_count(scenario.sites().minimum_count());
  *kept.mutable_attacks() = scenario.sites().attacks();
  *scenario.mutable_sites() = std::move(kept);
  return scenario;
}

absl::StatusOr<v1::Scenario> LoadScenario(const std::string& path, const std::string& folder,
                                          const std::vector<std::string>& overrides) {
  v1::Scenario scenario;
  CONSILIUM_RETURN_IF_ERROR(ReadTextFormatFile(path, scenario));
  for (const std::string& override : overrides) {
    CONSILIUM_RETURN_IF_ERROR(SetByPath(override, scenario));
  }
  v1::Dataset& dataset = *scenario.mutable_dataset();
  CONSILIUM_RETURN_IF_ERROR(CompleteFromManifest(dataset));
  if (!dataset.split_file().empty()) {
    const std::filesystem::path beside = std::filesystem::path(path).parent_path();
    dataset.set_split_file((beside / dataset.split_file()).string());
  }
  v1::SitesConfig& sites = *scenario.mutable_sites();
  if (!sites.trace_file().empty()) {
    if (sites.trace_size() > 0) {
      return Refuse("sites.trace_file", "there is a trace in the scenario already");
    }
    CONSILIUM_ASSIGN_OR_RETURN(
        std::vector<v1::TracePoint> points,
        ReadTrace((std::filesystem::path(folder) / sites.trace_file()).string()));
    for (v1::TracePoint& point : points) *sites.add_trace() = std::move(point);
  }
  CONSILIUM_RETURN_IF_ERROR(CheckScenario(scenario));
  return scenario;
}

}  // namespace consilium
