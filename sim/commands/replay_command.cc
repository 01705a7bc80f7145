#include "sim/commands/replay_command.h"

#include <cstring>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "models/spec/run_plan.h"
#include "protocol/core/progress.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/journal_export.h"
#include "sim/commands/what_if_command.h"

namespace consilium {
namespace {

nlohmann::json ToJson(const ReplayResult& result, const federation::RunState& run) {
  nlohmann::json versions = nlohmann::json::array();
  for (const federation::VersionState& version : run.versions) {
    versions.push_back({{"version", version.version.value()},
                        {"model_sha256", ToHex(version.model_id)},
                        {"payload_root", ToHex(version.payload_root)}});
  }
  return {{"run", run.run.value()},
          {"versions", std::move(versions)},
          {"programs_run", result.programs_run},
          {"updates_retrained", result.updates_retrained},
          {"mismatches", result.mismatches}};
}

std::vector<float> AsFloats(const std::string& payload) {
  std::vector<float> values(payload.size() / sizeof(float));
  memcpy(values.data(), payload.data(), values.size() * sizeof(float));
  return values;
}

}  // namespace

absl::StatusOr<Recording> OpenRecording(const RecordingSource& source) {
  CONSILIUM_ASSIGN_OR_RETURN(const RecipientKey key, ReadRecipientKey(source.key_file));
  ReadExportOptions options;
  if (!source.aggregator_key.empty()) {
    options.aggregator_key = DigestFromHex(source.aggregator_key);
    if (!options.aggregator_key.has_value()) {
      return absl::InvalidArgumentError(
          "--aggregator-key takes 64 lower-case hexadecimal digits, as `consilium status` shows "
          "them");
    }
  }
  CONSILIUM_ASSIGN_OR_RETURN(JournalExport read,
                             ReadJournalExport(source.export_file, key, options));
  if (source.aggregator_key.empty()) {
    absl::FPrintF(stderr,
                  "WARNING: who signed this export is NOT checked: it names the key\n"
                  "  %s\n"
                  "itself. Compare with `consilium status` at the aggregator, or give\n"
                  "--aggregator-key.\n",
                  absl::BytesToHexString(read.header.aggregator_signing_key()));
  }
  Recording recording;
  recording.run = RunId(read.header.run_id());
  recording.entries = std::move(read.entries);
  // One at a time, so that none is there twice for long.
  while (!read.updates.empty()) {
    const auto update = read.updates.extract(read.updates.begin());
    recording.updates[update.key()] = AsFloats(update.mapped());
  }
  return recording;
}

absl::StatusOr<v1::RunPlan> PlanOf(const Recording& recording) {
  for (const v1::JournalEntry& entry : recording.entries) {
    if (entry.has_run_submitted() && entry.run_submitted().run_id() == recording.run.value()) {
      return ResolvePlan(entry.run_submitted().plan());
    }
  }
  return absl::NotFoundError(
      absl::StrFormat("the recording has no plan for run '%s'", recording.run.value()));
}

absl::StatusOr<FederationData> OpenData(const RecordingSource& source, const v1::RunPlan& plan) {
  std::map<SiteId, std::string> files;
  for (const std::string& argument : source.data) {
    const std::vector<std::string> parts = absl::StrSplit(argument, absl::MaxSplits('=', 1));
    if (parts.size() != 2 || !files.emplace(SiteId(parts[0]), parts[1]).second) {
      return absl::InvalidArgumentError(
          absl::StrFormat("--data %s: write SITE=FILE, once for each site", argument));
    }
  }
  return LoadSiteFiles(files, plan);
}

absl::StatusOr<ReplayResult> ReplayWithProgress(const Recording& recording, ReplayOptions options,
                                                absl::string_view what) {
  Progress progress(what);
  options.progress = [&progress](size_t done, size_t of) {
    progress.Show(static_cast<double>(done), static_cast<double>(of),
                  absl::StrFormat("entry %d of %d", done, of));
  };
  return Replay(recording, options);
}

absl::Status Execute(const ReplayCommand& command) {
  if (command.has_changes()) return ReplayWithChanges(command);
  if (!command.out.empty()) {
    return absl::InvalidArgumentError("--out is of a replay with changes: --set or --without");
  }
  CONSILIUM_ASSIGN_OR_RETURN(const Recording recording, OpenRecording(command.source));
  ReplayOptions options;
  FederationData data;
  const std::unique_ptr<Trainer> trainer = MakeTrainer(command.trainer);
  if (command.updates == ReplayCommand::Updates::kRetrained) {
    CONSILIUM_ASSIGN_OR_RETURN(const v1::RunPlan plan, PlanOf(recording));
    CONSILIUM_ASSIGN_OR_RETURN(data, OpenData(command.source, plan));
    options.data = &data;
    options.trainer = trainer.get();
  }
  CONSILIUM_ASSIGN_OR_RETURN(const ReplayResult result,
                             ReplayWithProgress(recording, options, "replaying"));
  const federation::RunState& run = result.run(recording.run);
  if (command.output == ReplayCommand::Output::kJson) {
    nlohmann::json told = ToJson(result, run);
    if (command.updates == ReplayCommand::Updates::kRetrained) {
      told["trainer"] = std::string(NameOf(command.trainer));
    }
    told["signer_checked"] = !command.source.aggregator_key.empty();
    absl::PrintF("%s\n", told.dump(2));
  } else {
    for (const std::string& mismatch : result.mismatches) absl::PrintF("MISMATCH %s\n", mismatch);
    absl::PrintF("%s: %d versions recomputed, %d updates retrained, %d mismatches\n",
                 run.run.value(), result.programs_run, result.updates_retrained,
                 result.mismatches.size());
  }
  if (!result.mismatches.empty()) {
    if (command.updates == ReplayCommand::Updates::kRetrained) {
      return absl::DataLossError(absl::StrFormat(
          "the replay, which trains with --trainer %s, does not give what was recorded; only the "
          "trainer that made an update makes it again",
          NameOf(command.trainer)));
    }
    return absl::DataLossError("the replay does not give what was recorded");
  }
  return absl::OkStatus();
}

}  // namespace consilium
