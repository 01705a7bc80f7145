#include "sim/commands/simulate.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "aggregator/core/stopping.h"
#include "models/metrics/metrics.h"
#include "models/spec/preset_traits.h"
#include "models/spec/run_plan.h"
#include "protocol/core/progress.h"
#include "protocol/core/status_macros.h"
#include "sim/engine/attacks.h"
#include "sim/engine/energy_meter.h"
#include "sim/engine/open_scores.h"
#include "sim/engine/simulation.h"
#include "spdlog/spdlog.h"

namespace consilium {
namespace {

// Updates that make one version.
uint64_t UpdatesPerVersion(const v1::AggregationConfig& aggregation, size_t sites) {
  if (aggregation.trigger().has_buffer()) return aggregation.trigger().buffer().updates();
  // With an interval it depends on the sites' speed: one of each is a fair guess.
  return aggregation.trigger().has_bounded() ? 1 : sites;
}

// Of the result version.
absl::StatusOr<std::optional<BackdoorSuccess>> BackdoorOfResult(const Simulation& simulation,
                                                                const v1::Scenario& scenario,
                                                                const FederationData& data,
                                                                Trainer& trainer) {
  const federation::RunState& run = simulation.run();
  if (!run.result.has_value() || scenario.sites().attacks().empty()) return std::nullopt;
  CONSILIUM_ASSIGN_OR_RETURN(const Weights weights, simulation.ModelOf(*run.result));
  return MeasureBackdoor(scenario,
                         {run.plan.get(), run.standardisation.get(), *weights, &data, &trainer});
}

// Where a rank is lost the simulation ends, too, with a checkpoint of that moment. `saved` may be
// null.
void EndWith(RemoteTrainers& remote, SavedSimulation* saved, SimulationInput& input) {
  input.between = [&remote, saved, between = input.between](Simulation& simulation) {
    const absl::Status lost = remote.status();
    if (lost.ok()) return between ? between(simulation) : absl::OkStatus();
    const auto said = [&lost](absl::string_view what) {
      return absl::Status(lost.code(), absl::StrCat(lost.message(), what));
    };
    if (saved == nullptr) return said("; without --out nothing of this simulation is kept");
    CONSILIUM_RETURN_IF_ERROR(saved->WriteNow(simulation));
    return said("; the same command goes on from here, with any number of ranks");
  };
}

// On a wall clock nothing can be gone on with; the journal is kept in any case.
void EndWith(RemoteTrainers& remote, SimulationInput& input) {
  input.between = [&remote](Simulation&) { return remote.status(); };
}

absl::Status RunOnWallClock(Simulation& simulation, const SaveAs& save, RunLog* log) {
  const absl::Status ran = simulation.Run();
  if (log == nullptr || !simulation.has_run()) return ran;
  const absl::Status kept = save.runs->FinishWallRun(save.name, simulation.run().run, *log);
  if (ran.ok()) return kept;
  const std::string how =
      kept.ok() ? absl::StrCat("what came before is in ", save.runs->JournalOf(save.name))
                : absl::StrCat("its journal is lost: ", kept.message());
  return absl::Status(ran.code(), absl::StrCat(ran.message(), "; ", how));
}

// "seed 2 v12/200 LOG_LOSS 0.1234 virtual 3.5h": the score is that of the newest version that has
// one. `now`: InfinitePast on a wall clock, which the line tells anyhow.
std::string ProgressOf(const federation::RunState& run, const SaveAs& save, absl::Time now) {
  const v1::StopConfig& stop = run.plan->config().stop();
  std::string text = save.seed.has_value() ? absl::StrCat("seed ", *save.seed, " ") : "";
  absl::StrAppend(&text, "v", run.current().value(), "/", stop.versions_max(), " ",
                  v1::Metric_Name(federation::SelectBy(stop)));
  if (run.scored.has_value()) {
    absl::StrAppendFormat(&text, " %.4f", *run.versions[run.scored->value()].validation_score);
  } else {
    absl::StrAppend(&text, " -");
  }
  if (now == absl::InfinitePast()) return text;
  return absl::StrCat(text, " virtual ", ShortDuration(now - run.submitted_at));
}

// A picture needs no more.
constexpr size_t kTestedVersionsMax = 20;

// Where no version has a score on validation patients: of some, evenly, the shared model's in the
// open on test patients.
absl::Status AddTestCurve(const Simulation& simulation, const FederationData& data,
                          Trainer& trainer, RunSummary& summary) {
  const bool has_curve =
      std::any_of(summary.curve.begin(), summary.curve.end(), [](const CurvePoint& point) {
        return point.validation_loss.has_value() || point.score.has_value();
      });
  const v1::RunPlan& plan = *simulation.run().plan;
  if (has_curve || summary.curve.size() < 2 || plan.config().data().split().test() == 0) {
    return absl::OkStatus();
  }
  const size_t last = summary.curve.size() - 1;
  const size_t count = std::min(summary.curve.size(), kTestedVersionsMax);
  for (size_t i = 0; i < count; ++i) {
    CurvePoint& point = summary.curve[i * last / (count - 1)];
    const absl::StatusOr<Weights> model = simulation.ModelOf(Version(point.version));
    if (absl::IsNotFound(model.status())) continue;  // Retention has let it go.
    CONSILIUM_RETURN_IF_ERROR(model.status());
    CONSILIUM_ASSIGN_OR_RETURN(const CentreSums sums, ScoreInTheOpen(plan, data, **model, trainer));
    const v1::MetricSums total = Total(sums.centres);
    if (total.examples() == 0) continue;
    point.test_loss = MeanLoss(total);
    point.test_score = MetricValue(MetricOfCurve(summary), total);
  }
  return absl::OkStatus();
}

std::vector<std::string> PresetNames() {
  const auto* presets = v1::AggregationConfig::Preset_descriptor();
  std::vector<std::string> names;
  for (int i = 0; i < presets->value_count(); ++i) {
    if (presets->value(i)->number() == v1::AggregationConfig::PRESET_UNSPECIFIED) continue;
    names.push_back(presets->value(i)->name());
  }
  return names;
}

}  // namespace

absl::StatusOr<RunSummary> Simulate(const v1::RunPlan& plan, const v1::Scenario& scenario,
                                    const FederationData& data, const SummaryOptions& options,
                                    TrainingPool& trainings, const SaveAs& save,
                                    const OnWallClock& wall) {
  const bool on_wall_clock = wall.workers != nullptr;
  const auto preset = plan.config().aggregation().preset();
  Progress progress(v1::AggregationConfig::Preset_Name(preset));
  SimulationInput input;
  input.plan = plan;
  input.scenario = scenario;
  input.data = &data;
  input.trainer = &trainings.own();
  input.trainings = &trainings;
  input.workers = wall.workers;
  input.idle.bytes_max = save.idle_bytes_max;
  input.trainer_name = trainings.trainer_name();
  EnergyMeter energy;
  input.on_version = [&](const federation::RunState& run, absl::Time now) {
    energy.Sample();
    progress.Show(static_cast<double>(run.current().value()), plan.config().stop().versions_max(),
                  ProgressOf(run, save, on_wall_clock ? absl::InfinitePast() : now));
  };
  const absl::Time began = absl::Now();
  RemoteTrainers* const remote = on_wall_clock ? wall.remote : trainings.remote();
  std::unique_ptr<SavedSimulation> saved;
  std::unique_ptr<RunLog> log;  // Of a run on a wall clock.
  if (save.runs != nullptr && on_wall_clock) {
    CONSILIUM_ASSIGN_OR_RETURN(log, save.runs->OpenWallRun(save.name));
    input.log = log.get();
    input.idle.folder = save.runs->folder();
  } else if (save.runs != nullptr) {
    CONSILIUM_ASSIGN_OR_RETURN(saved, save.runs->OpenRun(save.name, input));
    saved->Attach(input);
  }
  const bool trains = saved == nullptr || !saved->had_ended();
  if (remote != nullptr && trains) {
    CONSILIUM_RETURN_IF_ERROR(remote->Prepare(plan, scenario, data));
    if (on_wall_clock) {
      EndWith(*remote, input);
    } else {
      EndWith(*remote, saved.get(), input);
    }
  }
  CONSILIUM_ASSIGN_OR_RETURN(const std::unique_ptr<Simulation> simulation,
                             Simulation::Create(std::move(input)));
  CONSILIUM_RETURN_IF_ERROR(on_wall_clock ? RunOnWallClock(*simulation, save, log.get())
                                          : simulation->Run());
  if (saved != nullptr) {
    CONSILIUM_RETURN_IF_ERROR(save.runs->FinishRun(save.name, *simulation, *saved));
  }
  RunSummary summary = SummaryOf(simulation->run(), options);
  AddActivity(*simulation, data, summary);
  CONSILIUM_ASSIGN_OR_RETURN(summary.backdoor,
                             BackdoorOfResult(*simulation, scenario, data, trainings.own()));
  summary.wall_seconds =
      absl::ToDoubleSeconds(saved != nullptr ? saved->wall_time() : absl::Now() - began);
  energy.Sample();
  const bool is_all_of_it = remote == nullptr && (saved == nullptr || !saved->goes_on());
  if (is_all_of_it) summary.energy_joules = energy.joules();
  // For the report.
  if (save.runs != nullptr) {
    CONSILIUM_RETURN_IF_ERROR(AddTestCurve(*simulation, data, trainings.own(), summary));
  }
  if (!simulation->run().result.has_value()) return summary;
  CONSILIUM_ASSIGN_OR_RETURN(const Weights result, simulation->ModelOf(*simulation->run().result));
  OpenScores open;
  CONSILIUM_ASSIGN_OR_RETURN(open["federated"],
                             ScoreInTheOpen(plan, data, *result, trainings.own()));
  if (IsPersonal(KeptBySites(plan.config()))) {
    if (save.runs != nullptr) {
      CONSILIUM_RETURN_IF_ERROR(
          save.runs->WritePersonalModels(save.name, plan, *result, *simulation));
    }
    CONSILIUM_ASSIGN_OR_RETURN(
        open["personal"],
        ScorePersonal(
            plan, data, *result, [&](const SiteId& site) { return simulation->KeptOf(site); },
            trainings.own()));
  }
  if (options.baselines != nullptr) {
    open["alone"].centres = options.baselines->alone;
    open["pooled"] = {options.baselines->pooled, options.baselines->pooled_over_all};
  }
  summary.open = std::move(open);
  return summary;
}

void AddActivity(const Simulation& simulation, const FederationData& data, RunSummary& summary) {
  constexpr std::array<absl::string_view, 3> kNames = {"train", "download", "upload"};
  const ActivityLog& log = simulation.activity();
  const absl::Time submitted = simulation.run().submitted_at;
  const absl::Time ended = simulation.run().ended_at;
  std::map<std::string, double> idle;
  std::vector<std::string> sites;
  for (const auto& [site, of] : data) {
    const absl::Duration busy = log.BusyOf(sites.size()).Within(submitted, ended);
    if (ended > submitted) {
      idle[site.value()] = 1 - absl::FDivDuration(busy, ended - submitted);
    }
    sites.push_back(site.value());
  }
  for (SiteSummary& site : summary.sites) {
    if (const auto found = idle.find(site.name); found != idle.end()) {
      site.idle_fraction = found->second;
    }
  }
  for (const Activity& activity : log.activities()) {
    summary.activity.push_back({sites[activity.site],
                                std::string(kNames.at(static_cast<size_t>(activity.kind))),
                                absl::ToDoubleSeconds(activity.begin - submitted),
                                absl::ToDoubleSeconds(activity.end - submitted)});
  }
}

v1::RunPlan UnderPreset(v1::RunPlan plan, v1::AggregationConfig::Preset preset) {
  v1::AggregationConfig& aggregation = *plan.mutable_config()->mutable_aggregation();
  const v1::AggregationConfig before = std::exchange(aggregation, {});
  aggregation.set_preset(preset);
  v1::TrainingConfig& training = *plan.mutable_config()->mutable_training();
  training.clear_tasks_in_flight_max();
  // Words of one rule only.
  if (preset != v1::AggregationConfig::FEDPER) training.clear_personal();
  if (preset != v1::AggregationConfig::DITTO) training.clear_ditto_lambda();
  if (!before.has_concurrency()) return plan;
  *aggregation.mutable_concurrency() = before.concurrency();
  if (absl::StrContains(ResolvePlan(plan).status().message(), "aggregation.concurrency")) {
    aggregation.clear_concurrency();
  }
  return plan;
}

void WarnWhereAllTrainAtOnce(const v1::RunPlan& plan,
                             const std::vector<v1::AggregationConfig::Preset>& presets) {
  if (!plan.config().aggregation().has_concurrency()) return;
  for (const v1::AggregationConfig::Preset preset : presets) {
    if (UnderPreset(plan, preset).config().aggregation().has_concurrency()) continue;
    spdlog::warn("{} has no place for the run config's aggregation.concurrency: all sites train",
                 v1::AggregationConfig::Preset_Name(preset));
  }
}

absl::StatusOr<v1::RunPlan> WithPreset(const v1::RunPlan& plan,
                                       v1::AggregationConfig::Preset preset, size_t sites) {
  CONSILIUM_ASSIGN_OR_RETURN(v1::RunPlan other, ResolvePlan(UnderPreset(plan, preset)));
  const uint64_t updates =
      plan.config().stop().versions_max() * UpdatesPerVersion(plan.config().aggregation(), sites);
  const uint64_t versions =
      std::max<uint64_t>(1, updates / UpdatesPerVersion(other.config().aggregation(), sites));
  other.mutable_config()->mutable_stop()->set_versions_max(static_cast<uint32_t>(versions));
  return other;
}

absl::StatusOr<std::vector<v1::AggregationConfig::Preset>> ParsePresets(
    const std::vector<std::string>& names) {
  std::vector<v1::AggregationConfig::Preset> presets;
  for (const std::string& name : names) {
    v1::AggregationConfig::Preset preset = v1::AggregationConfig::PRESET_UNSPECIFIED;
    if (!v1::AggregationConfig::Preset_Parse(name, &preset) ||
        preset == v1::AggregationConfig::PRESET_UNSPECIFIED) {
      return absl::InvalidArgumentError(absl::StrFormat("--simulate: no rule is named %s (%s)",
                                                        name, absl::StrJoin(PresetNames(), ", ")));
    }
    presets.push_back(preset);
  }
  return presets;
}

absl::StatusOr<v1::StopConfig::Target> ParseTarget(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, absl::MaxSplits('=', 1));
  v1::Metric metric = v1::METRIC_UNSPECIFIED;
  double value = 0;
  if (parts.size() != 2 || !v1::Metric_Parse(parts[0], &metric) ||
      metric == v1::METRIC_UNSPECIFIED || !absl::SimpleAtod(parts[1], &value) || !(value > 0)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "--target %s: write METRIC=VALUE, a metric of the run config and a number above 0, for "
        "instance LOG_LOSS=0.1",
        text));
  }
  v1::StopConfig::Target target;
  target.set_metric(metric);
  target.set_value(value);
  return target;
}

absl::StatusOr<std::vector<RunSummary>> SimulatePresets(
    const std::vector<v1::AggregationConfig::Preset>& presets, const v1::RunPlan& plan,
    const v1::Scenario& scenario, const FederationData& data, const SummaryOptions& options,
    TrainingPool& trainings, const SaveAs& save, const OnWallClock& wall) {
  std::vector<RunSummary> runs;
  for (const v1::AggregationConfig::Preset preset : presets) {
    CONSILIUM_ASSIGN_OR_RETURN(const v1::RunPlan other, WithPreset(plan, preset, data.size()));
    const SaveAs save_other = {
        save.runs,
        absl::StrCat(absl::AsciiStrToLower(v1::AggregationConfig::Preset_Name(preset)), save.name),
        save.idle_bytes_max, save.seed};
    CONSILIUM_ASSIGN_OR_RETURN(
        RunSummary summary, Simulate(other, scenario, data, options, trainings, save_other, wall));
    runs.push_back(std::move(summary));
  }
  return runs;
}

}  // namespace consilium
