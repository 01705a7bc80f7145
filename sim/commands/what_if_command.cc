#include "sim/commands/what_if_command.h"

#include <stdio.h>

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "models/spec/run_plan.h"
#include "protocol/core/printable_text.h"
#include "protocol/core/progress.h"
#include "protocol/core/status_macros.h"
#include "sim/commands/kept_stages.h"
#include "sim/commands/outputs.h"
#include "sim/commands/simulate.h"
#include "sim/engine/recorded_run.h"
#include "sim/engine/what_if.h"
#include "sim/report/scores.h"
#include "sim/report/summary.h"
#include "spdlog/spdlog.h"

namespace consilium {
namespace {

using Json = nlohmann::json;
using Mode = WhatIfSite::Mode;

constexpr absl::string_view kPresetPath = "aggregation.preset=";

absl::string_view NameOf(Mode mode) {
  switch (mode) {
    case Mode::kRetrained:
      return "retrained";
    case Mode::kReaggregated:
      return "re-aggregated";
    case Mode::kAbsent:
      return "absent";
  }
  return "";
}

absl::Status CheckOverride(const std::string& override) {
  const std::pair<absl::string_view, absl::string_view> refused[] = {
      {"scenario.", "a replay has no scenario: its sites keep the recorded pace"},
      {"model.spec_file=",
       "a replay reads no spec file; spec.PATH=VALUE changes the recorded spec"},
      {"data.contract_file=", "a replay reads no contract file; the recorded contract stands"},
  };
  for (const auto& [path, why] : refused) {
    if (absl::StartsWith(override, path)) {
      return absl::InvalidArgumentError(absl::StrFormat("--set %s: %s", override, why));
    }
  }
  return absl::OkStatus();
}

// The preset that the override names, where it names one.
std::optional<v1::AggregationConfig::Preset> PresetIn(const std::string& override) {
  v1::AggregationConfig::Preset preset = v1::AggregationConfig::PRESET_UNSPECIFIED;
  const bool names_one =
      absl::StartsWith(override, kPresetPath) &&
      v1::AggregationConfig::Preset_Parse(override.substr(kPresetPath.size()), &preset);
  if (!names_one) return std::nullopt;
  return preset;
}

// --- Both runs --------------------------------------------------------------------------------

// One of the two, over the sites that tell of both.
struct Side {
  RunSummary summary;
  std::map<SiteId, double> influence;  // Of all that took part, also who has left; sums to 1.
  double last_version_seconds = 0;     // Since submission.
  double mean_staleness = 0;           // Of the merged updates.
  Scores scores;                       // Of the result, on the compared sites' test patients.
  std::string worst_site;              // Of them, by their loss; empty: none tells.
};

std::optional<double> LossOf(const Scores& scores) {
  if (scores.log_loss.has_value()) return scores.log_loss;
  return scores.cox_loss.has_value() ? scores.cox_loss : scores.mse;
}

double MeanStaleness(const RunSummary& summary) {
  double sum = 0;
  for (size_t i = 0; i < summary.staleness.size(); ++i) {
    sum += static_cast<double>(i) * static_cast<double>(summary.staleness[i]);
  }
  return summary.updates == 0 ? 0 : sum / static_cast<double>(summary.updates);
}

std::map<SiteId, double> InfluenceOf(const federation::RunState& run) {
  std::map<SiteId, double> influence;
  double sum = 0;
  for (const auto& [site, participant] : run.participants) {
    sum += influence[site] = participant.influence;
  }
  for (auto& [site, part] : influence) part = sum > 0 ? part / sum : 0;
  return influence;
}

Side SideOf(const federation::RunState& run, const std::set<SiteId>& compared,
            absl::string_view which) {
  Side side;
  side.summary = SummaryOf(run, {});
  absl::StrAppend(&side.summary.title, " (", which, ")");
  side.mean_staleness = MeanStaleness(side.summary);
  side.influence = InfluenceOf(run);
  if (run.versions.empty()) return side;
  side.last_version_seconds =
      absl::ToDoubleSeconds(run.versions.back().committed_at - run.submitted_at);
  if (!run.result.has_value()) return side;
  SiteSums told;
  double worst = 0;
  for (const auto& [site, sums] : run.versions[run.result->value()].test) {
    if (!compared.contains(site)) continue;
    told[site] = sums;
    const std::optional<double> loss = LossOf(ScoresOf(*sums));
    if (!loss.has_value() || (!side.worst_site.empty() && *loss <= worst)) continue;
    worst = *loss;
    side.worst_site = site.value();
  }
  side.scores = ScoresOf(Total(told));
  return side;
}

struct Told {
  std::vector<WhatIfSite> sites;
  std::set<SiteId> compared;  // Those with data.
  Side recorded;
  Side changed;
  std::optional<double> distance;  // Of the last model from the recorded one.
  std::string why_ended;           // Of the changed run.
};

std::vector<std::string> NamesOf(const Told& told, Mode mode) {
  std::vector<std::string> names;
  for (const WhatIfSite& site : told.sites) {
    if (site.mode == mode) names.push_back(site.site.value());
  }
  return names;
}

std::string Approximation(const Told& told) {
  const std::vector<std::string> names = NamesOf(told, Mode::kReaggregated);
  if (names.empty()) return "";
  return absl::StrFormat(
      "%d of %d sites re-aggregated (%s): their recorded updates, which they made from other "
      "models, are merged as they are",
      names.size(), told.sites.size(), absl::StrJoin(names, ", "));
}

// Nothing where it is no participant.
std::optional<double> InfluenceIn(const Side& side, const SiteId& site) {
  const auto found = side.influence.find(site);
  if (found == side.influence.end()) return std::nullopt;
  return found->second;
}

const SiteSummary* Find(const RunSummary& summary, const SiteId& site) {
  const auto found = std::find_if(summary.sites.begin(), summary.sites.end(),
                                  [&](const SiteSummary& of) { return of.name == site.value(); });
  return found == summary.sites.end() ? nullptr : &*found;
}

// --- Text -------------------------------------------------------------------------------------

std::string Cell(const std::optional<double>& value, int decimals) {
  return value.has_value() ? absl::StrFormat("%.*f", decimals, *value) : "-";
}

std::string RemarksOn(const WhatIfSite& site, const Told& told) {
  std::vector<std::string> remarks;
  if (site.mode != Mode::kAbsent && site.recorded == 0) {
    remarks.emplace_back("no update of it was recorded: it stays silent");
  } else if (site.used_up) {
    remarks.emplace_back(site.mode == Mode::kRetrained ? "its recorded durations begin anew"
                                                       : "all its recorded updates are used up");
  }
  if (site.not_at_hand > 0) {
    remarks.push_back(absl::StrFormat("%d updates are not in the recording", site.not_at_hand));
  }
  const SiteSummary* was = Find(told.recorded.summary, site.site);
  const SiteSummary* is = Find(told.changed.summary, site.site);
  if (was != nullptr && is != nullptr && was->train_examples != is->train_examples) {
    remarks.push_back(absl::StrFormat("trains on %d rows, %d were recorded", is->train_examples,
                                      was->train_examples));
  }
  return absl::StrJoin(remarks, "; ");
}

std::string SiteTable(const Told& told) {
  std::string text = absl::StrFormat(
      "%-22s %-14s %8s %8s | %8s %8s\n%-22s %-14s %8s %8s | %8s %8s\n", "", "", "tasks", "",
      "weight", "", "site", "mode", "recorded", "changed", "recorded", "changed");
  for (const WhatIfSite& site : told.sites) {
    const std::string remarks = RemarksOn(site, told);
    absl::StrAppendFormat(
        &text, "%-22s %-14s %8d %8d | %8s %8s%s%s\n", site.site.value(), NameOf(site.mode),
        site.recorded, site.done, Cell(InfluenceIn(told.recorded, site.site), 3),
        Cell(InfluenceIn(told.changed, site.site), 3), remarks.empty() ? "" : "  ", remarks);
  }
  return text;
}

std::string RunTable(const Told& told) {
  std::string text = absl::StrFormat("%-32s %14s %14s\n", "", "recorded", "changed");
  const auto line = [&](absl::string_view name, const auto& of, int decimals) {
    absl::StrAppendFormat(&text, "%-32s %14s %14s\n", name, Cell(of(told.recorded), decimals),
                          Cell(of(told.changed), decimals));
  };
  const auto number = [](auto value) { return std::optional<double>(static_cast<double>(value)); };
  line(
      "versions", [&](const Side& side) { return number(side.summary.versions); }, 0);
  line(
      "seconds to the last version",
      [&](const Side& side) { return number(side.last_version_seconds); }, 1);
  line(
      "updates merged", [&](const Side& side) { return number(side.summary.updates); }, 0);
  line(
      "mean staleness", [&](const Side& side) { return number(side.mean_staleness); }, 2);
  if (told.compared.empty()) {
    return absl::StrCat(text, "No scores: no site's table is at hand.\n");
  }
  const bool survival = told.changed.scores.cox_loss.has_value();
  const bool number_label = told.changed.scores.mse.has_value();
  line(
      "test rows", [&](const Side& side) { return number(side.scores.examples); }, 0);
  line(
      survival       ? "Cox loss"
      : number_label ? "squared error"
                     : "log-loss",
      [](const Side& side) { return LossOf(side.scores); }, 4);
  if (!number_label) {
    line(
        survival ? "C" : "AUROC",
        [&](const Side& side) { return survival ? side.scores.c_index : side.scores.auroc; }, 4);
  }
  absl::StrAppendFormat(&text, "%-32s %14s %14s\n", "worst site",
                        told.recorded.worst_site.empty() ? "-" : told.recorded.worst_site,
                        told.changed.worst_site.empty() ? "-" : told.changed.worst_site);
  std::vector<std::string> names;
  for (const SiteId& site : told.compared) names.push_back(site.value());
  absl::StrAppend(&text, "Scores of both are over the test rows of the sites with data: ",
                  absl::StrJoin(names, ", "), ".\n");
  return text;
}

void Print(const ReplayCommand& command, const RunId& run, const Told& told) {
  std::vector<std::string> changes = command.overrides;
  for (const std::string& site : command.without) changes.push_back(absl::StrCat("without ", site));
  absl::PrintF("%s, changed: %s\n\n%s\n%s", run.value(), absl::StrJoin(changes, ", "),
               SiteTable(told), RunTable(told));
  if (told.distance.has_value()) {
    absl::PrintF("The last model lies %.4g from the recorded one, relative to its length.\n",
                 *told.distance);
  }
  absl::PrintF("The changed run ended: %s.\n", told.why_ended);
  const std::string approximation = Approximation(told);
  if (!approximation.empty()) absl::PrintF("APPROXIMATION: %s.\n", approximation);
}

// --- JSON -------------------------------------------------------------------------------------

Json Optional(const std::optional<double>& value) {
  return value.has_value() ? Json(*value) : Json(nullptr);
}

Json ComparedJson(const Side& side) {
  return {{"last_version_seconds", side.last_version_seconds},
          {"mean_staleness", side.mean_staleness},
          {"scores", ToJson(side.scores)},
          {"worst_site", side.worst_site}};
}

Json ToJson(const ReplayCommand& command, const RunId& run, const Told& told) {
  Json sites = Json::array();
  for (const WhatIfSite& site : told.sites) {
    sites.push_back({{"site", site.site.value()},
                     {"mode", std::string(NameOf(site.mode))},
                     {"tasks_recorded", site.recorded},
                     {"tasks_changed", site.done},
                     {"used_up", site.used_up},
                     {"updates_not_at_hand", site.not_at_hand},
                     {"influence_recorded", Optional(InfluenceIn(told.recorded, site.site))},
                     {"influence_changed", Optional(InfluenceIn(told.changed, site.site))}});
  }
  Json compared = Json::array();
  for (const SiteId& site : told.compared) compared.push_back(site.value());
  return {{"run", run.value()},
          {"set", command.overrides},
          {"without", command.without},
          {"sites", std::move(sites)},
          {"approximation", Approximation(told)},
          {"compared",
           {{"sites", std::move(compared)},
            {"recorded", ComparedJson(told.recorded)},
            {"changed", ComparedJson(told.changed)}}},
          {"model_distance", Optional(told.distance)},
          {"why_ended", told.why_ended},
          {"recorded", ToJson(told.recorded.summary)},
          {"changed", ToJson(told.changed.summary)},
          {"trainer", std::string(NameOf(command.trainer))},
          {"signer_checked", !command.source.aggregator_key.empty()}};
}

// --- The runs ---------------------------------------------------------------------------------

// Of the recorded run, computed anew; null where the recording lacks updates.
absl::StatusOr<Weights> RecordedModel(const Recording& recording) {
  if (recording.updates.empty()) return nullptr;
  const absl::StatusOr<ReplayResult> replayed = ReplayWithProgress(recording, {}, "replaying");
  if (absl::IsNotFound(replayed.status())) return nullptr;
  CONSILIUM_RETURN_IF_ERROR(replayed.status());
  if (!replayed->mismatches.empty()) {
    return absl::DataLossError(
        absl::StrCat("the recording does not come out as it was recorded, so that nothing is to be "
                     "compared with: ",
                     replayed->mismatches.front()));
  }
  return replayed->newest_model;
}

// Those of --data that are not left out.
absl::StatusOr<FederationData> OpenDataOf(const ReplayCommand& command, const v1::RunPlan& plan) {
  RecordingSource source = command.source;
  const auto is_left_out = [&command](const std::string& argument) {
    return std::any_of(command.without.begin(), command.without.end(),
                       [&](const std::string& site) {
                         return absl::StartsWith(argument, absl::StrCat(site, "="));
                       });
  };
  source.data.erase(std::remove_if(source.data.begin(), source.data.end(), is_left_out),
                    source.data.end());
  return OpenData(source, plan);
}

absl::StatusOr<WhatIf> Simulate(const ReplayCommand& command, const RecordedRun& recorded,
                                TrainingPool& trainings) {
  Progress progress("simulating the changed run");
  WhatIfInput input;
  CONSILIUM_ASSIGN_OR_RETURN(
      input.plan, ChangedPlan(*recorded.state().plan, command.overrides, command.without));
  for (const std::string& site : command.without) input.without.insert(SiteId(site));
  CONSILIUM_ASSIGN_OR_RETURN(input.data, OpenDataOf(command, input.plan));
  input.trainer = &trainings.own();
  input.trainings = &trainings;
  const uint32_t versions_max = input.plan.config().stop().versions_max();
  input.on_version = [&progress, versions_max](const federation::RunState& run, absl::Time) {
    progress.Show(static_cast<double>(run.current().value()), versions_max,
                  absl::StrFormat("version %d", run.current().value()));
  };
  return RunWhatIf(recorded, std::move(input));
}

absl::StatusOr<std::optional<double>> DistanceOf(const WhatIf& changed, const Weights& recorded) {
  const Simulation& simulation = *changed.simulation;
  CONSILIUM_ASSIGN_OR_RETURN(const Weights model, simulation.ModelOf(simulation.run().current()));
  if (recorded == nullptr || recorded->size() != model->size()) return std::nullopt;
  return RelativeDistance(*model, *recorded);
}

absl::Status CheckCommand(const ReplayCommand& command) {
  if (command.updates == ReplayCommand::Updates::kRetrained) {
    return absl::InvalidArgumentError(
        "--retrain holds a recording to what was recorded; with --set or --without every site with "
        "--data trains anyhow");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::RunPlan> ChangedPlan(const v1::RunPlan& recorded,
                                        const std::vector<std::string>& overrides,
                                        const std::vector<std::string>& without) {
  v1::RunPlan plan = recorded;
  for (const std::string& override : overrides) {
    CONSILIUM_RETURN_IF_ERROR(CheckOverride(override));
    const auto preset = PresetIn(override);
    if (preset.has_value() && *preset != recorded.config().aggregation().preset()) {
      WarnWhereAllTrainAtOnce(plan, {*preset});
      plan = UnderPreset(std::move(plan), *preset);
    }
  }
  // The recorded share may be ADAPTIVE's default, which a run config that gives a K does not have.
  const bool gives_k = LiveShareKeptBesideK(plan.config(), overrides);
  CONSILIUM_RETURN_IF_ERROR(SetInPlan(overrides, plan));
  if (gives_k) {
    v1::Trigger::Buffer& buffer =
        *plan.mutable_config()->mutable_aggregation()->mutable_trigger()->mutable_buffer();
    spdlog::info(
        "K is {} as --set says, however many sites are live: the recorded "
        "aggregation.trigger.buffer.live_share_min={} is left out; --set it, too, to keep it",
        buffer.updates(), buffer.live_share_min());
    buffer.clear_live_share_min();
  }
  auto& sites = *plan.mutable_config()->mutable_participation()->mutable_sites();
  sites.erase(std::remove_if(sites.begin(), sites.end(),
                             [&without](const std::string& site) {
                               return std::find(without.begin(), without.end(), site) !=
                                      without.end();
                             }),
              sites.end());
  return ResolvePlan(std::move(plan));
}

absl::Status ReplayWithChanges(const ReplayCommand& command) {
  CONSILIUM_RETURN_IF_ERROR(CheckCommand(command));
  CONSILIUM_ASSIGN_OR_RETURN(const Recording recording, OpenRecording(command.source));
  CONSILIUM_ASSIGN_OR_RETURN(const RecordedRun recorded, ReadRecordedRun(recording));
  CONSILIUM_ASSIGN_OR_RETURN(const Weights model, RecordedModel(recording));
  const std::unique_ptr<TrainingPool> trainings = MakeTrainers({.kind = command.trainer});
  CONSILIUM_ASSIGN_OR_RETURN(const WhatIf changed, Simulate(command, recorded, *trainings));
  const federation::RunState& run = changed.simulation->run();
  if (run.versions.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the changed run ends before its first version: ", PrintableText(run.why_ended)));
  }
  Told told;
  told.sites = changed.sites;
  for (const WhatIfSite& site : told.sites) {
    if (site.mode == Mode::kRetrained) told.compared.insert(site.site);
  }
  told.recorded = SideOf(recorded.state(), told.compared, "recorded");
  told.changed = SideOf(run, told.compared, "changed");
  AddActivity(*changed.simulation, *changed.data, told.changed.summary);
  told.why_ended = PrintableText(run.why_ended);
  CONSILIUM_ASSIGN_OR_RETURN(told.distance, DistanceOf(changed, model));
  const Json json = ToJson(command, recording.run, told);
  if (command.output == ReplayCommand::Output::kJson) {
    absl::PrintF("%s\n", json.dump(2));
  } else {
    Print(command, recording.run, told);
  }
  std::map<std::string, std::string> checks = {{"clock", "virtual, at the recorded pace"}};
  if (const std::string text = Approximation(told); !text.empty()) checks["approximation"] = text;
  return WriteOutputs(command.out, json, {told.recorded.summary, told.changed.summary}, checks);
}

}  // namespace consilium
