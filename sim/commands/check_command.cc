#include "sim/commands/check_command.h"

#include <stdlib.h>

#include <exception>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "protocol/core/files.h"
#include "protocol/core/progress.h"
#include "protocol/core/status_macros.h"
#include "sim/check/shrink.h"
#include "sim/engine/saved_simulation.h"
#include "spdlog/spdlog.h"

namespace consilium {
namespace {

constexpr uint64_t kShrinkTriesMax = 2000;

struct Tally {
  uint64_t held = 0;
  uint64_t refused = 0;
  uint64_t events = 0;
  uint64_t versions = 0;
  uint64_t updates = 0;

  void Add(const Verdict& verdict) {
    (verdict.kind == Verdict::Kind::kRefused ? refused : held) += 1;
    events += verdict.events;
    versions += verdict.versions;
    updates += verdict.updates;
  }
};

struct Finding {
  uint64_t seed = 0;
  std::string what;  // Of the smallest one.
  uint64_t tried = 0;
  // Commands that show it: as drawn, as made smaller, and as a simulation that learns.
  std::string found_by;
  std::string again;
  std::string run;
};

// A defect may also be one that throws.
absl::StatusOr<Verdict> Examined(const CheckCommand& command, const FederationCase& federation,
                                 const std::string& folder) {
  try {
    return command.examine(federation, folder);
  } catch (const std::exception& error) {
    Verdict verdict;
    verdict.kind = Verdict::Kind::kBroken;
    verdict.what = absl::StrCat("no exception: ", error.what());
    return verdict;
  }
}

absl::StatusOr<Finding> ShrinkAndWrite(const CheckCommand& command, uint64_t seed,
                                       const Verdict& broken, const std::string& folder) {
  const std::string invariant = broken.invariant();
  Finding finding;
  finding.seed = seed;
  finding.what = broken.what;
  const auto breaks_it = [&](const FederationCase& federation) {
    const absl::StatusOr<Verdict> verdict = Examined(command, federation, folder);
    const bool breaks = verdict.ok() && verdict->kind == Verdict::Kind::kBroken &&
                        verdict->invariant() == invariant;
    if (breaks) finding.what = verdict->what;
    return breaks;
  };
  const Shrunk shrunk = Shrink(DrawCase(seed), breaks_it, kShrinkTriesMax);
  finding.tried = shrunk.tried;
  CONSILIUM_RETURN_IF_ERROR(WriteCase(shrunk.federation, command.out));
  const std::string& out = command.out;
  finding.found_by = absl::StrCat("consilium-sim check --seed ", seed, " --runs 1 --out ", out);
  finding.again = absl::StrCat("consilium-sim check --replay ", out);
  finding.run = absl::StrCat("consilium-sim run ", out, "/run.textproto ", out,
                             "/scenario.textproto --no-baselines");
  return finding;
}

nlohmann::json ToJson(const Tally& tally, const std::optional<Finding>& finding,
                      const std::string& out) {
  nlohmann::json json = {{"held", tally.held},       {"refused_configs", tally.refused},
                         {"events", tally.events},   {"versions", tally.versions},
                         {"updates", tally.updates}, {"program_version", SimulatorVersion()},
                         {"broken", nullptr}};
  if (finding.has_value()) {
    json["broken"] = {
        {"seed", finding->seed},         {"what", finding->what},           {"written_to", out},
        {"found_by", finding->found_by}, {"again_smaller", finding->again}, {"run", finding->run}};
  }
  return json;
}

void Tell(const CheckCommand& command, const Tally& tally, const std::optional<Finding>& finding) {
  if (command.output == CheckCommand::Output::kJson) {
    absl::PrintF("%s\n", ToJson(tally, finding, command.out).dump(2));
    return;
  }
  absl::PrintF("%d federations hold (%d events, %d versions, %d updates), %d configs are refused\n",
               tally.held, tally.events, tally.versions, tally.updates, tally.refused);
  if (!finding.has_value()) return;
  absl::PrintF(
      "BROKEN, seed %d, consilium-sim %s: %s\n"
      "found by\n  %s\n"
      "made smaller in %d tries; again with\n  %s\n  %s\n",
      finding->seed, SimulatorVersion(), finding->what, finding->found_by, finding->tried,
      finding->again, finding->run);
}

absl::Status Replayed(const CheckCommand& command) {
  CONSILIUM_ASSIGN_OR_RETURN(const FederationCase federation, ReadCase(command.replay));
  CONSILIUM_ASSIGN_OR_RETURN(const Verdict verdict, Examined(command, federation, command.replay));
  if (verdict.kind == Verdict::Kind::kRefused) return absl::InvalidArgumentError(verdict.what);
  const bool holds = verdict.kind == Verdict::Kind::kHolds;
  if (command.output == CheckCommand::Output::kJson) {
    const nlohmann::json json = {
        {"holds", holds}, {"what", verdict.what}, {"program_version", SimulatorVersion()}};
    absl::PrintF("%s\n", json.dump(2));
  } else {
    absl::PrintF("%s\n", holds ? "every invariant holds" : verdict.what);
  }
  return holds ? absl::OkStatus() : absl::DataLossError("an invariant is broken");
}

absl::StatusOr<std::string> MakeTemporaryFolder() {
  std::string path = (std::filesystem::temp_directory_path() / "consilium-check-XXXXXX").string();
  if (mkdtemp(path.data()) == nullptr) return SystemError("can not make the folder", path);
  return path;
}

}  // namespace

absl::Status Execute(const CheckCommand& command) {
  // Attacks and refused streams raise alarms by the thousand.
  const auto level = spdlog::get_level();
  spdlog::set_level(spdlog::level::err);
  const absl::Cleanup restore = [level] { spdlog::set_level(level); };
  if (!command.replay.empty()) return Replayed(command);
  if (command.runs == 0 || !(command.time_s >= 0)) {
    return absl::InvalidArgumentError("--runs takes a number from 1 on, --time seconds from 0 on");
  }
  CONSILIUM_ASSIGN_OR_RETURN(const std::string folder, MakeTemporaryFolder());
  const absl::Cleanup remover = [&folder] {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  };
  CONSILIUM_RETURN_IF_ERROR(WriteCaseTable(folder));
  Progress progress("checking");
  Tally tally;
  std::optional<Finding> finding;
  const absl::Time began = absl::Now();
  for (uint64_t seed = command.seed; seed - command.seed < command.runs; ++seed) {
    if (command.time_s > 0 && absl::Now() - began > absl::Seconds(command.time_s)) break;
    CONSILIUM_ASSIGN_OR_RETURN(const Verdict verdict, Examined(command, DrawCase(seed), folder));
    if (verdict.kind == Verdict::Kind::kBroken) {
      CONSILIUM_ASSIGN_OR_RETURN(finding, ShrinkAndWrite(command, seed, verdict, folder));
      break;
    }
    tally.Add(verdict);
    progress.Show(static_cast<double>(seed - command.seed + 1), static_cast<double>(command.runs),
                  absl::StrFormat("seed %d", seed));
  }
  Tell(command, tally, finding);
  return finding.has_value() ? absl::DataLossError("an invariant is broken") : absl::OkStatus();
}

}  // namespace consilium
