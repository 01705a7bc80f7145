#include "sim/engine/saved_simulation.h"

#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/text_format.h"
#include "spdlog/spdlog.h"

namespace consilium {
namespace {

// Between looks at the clock where nothing costly happens.
constexpr uint64_t kCallsBetweenLooks = 256;

absl::Status NotTheSameAgain() {
  return absl::DataLossError(
      "the simulation does not come to the state of its checkpoint again: it was begun by another "
      "build of this program; --restart begins anew");
}

}  // namespace

std::string SimulatorVersion() { return CONSILIUM_VERSION; }

Digest DigestOf(const FederationData& data) {
  FieldHasher hash("consilium.sim.data");
  for (const auto& [site, rows] : data) {
    hash.Add(absl::string_view(site.value())).Add(uint64_t{rows.rows.size()});
    for (size_t i = 0; i < rows.rows.size(); ++i) {
      const RawRow& row = rows.rows[i];
      hash.Add(std::span<const double>(row.values)).Add(row.label);
      hash.Add(absl::string_view(row.patient_id)).Add(static_cast<uint64_t>(rows.parts[i]));
    }
    if (rows.own.has_value()) hash.Add(absl::string_view(DeterministicBytes(*rows.own)));
  }
  return hash.Finish();
}

std::vector<std::string> DifferingParts(const std::map<std::string, std::string>& ours,
                                        const std::map<std::string, std::string>& theirs) {
  std::vector<std::string> parts;
  for (const auto& [part, digest] : ours) {
    const auto found = theirs.find(part);
    if (found == theirs.end() || found->second != digest) parts.push_back(part);
  }
  return parts;
}

std::map<std::string, std::string> IdentityOf(const SimulationInput& input) {
  // A seed is told apart from the rest, so that a refusal can say so.
  v1::RunPlan plan = input.plan;
  v1::Scenario scenario = input.scenario;
  const std::string seeds = absl::StrCat(plan.config().seed(), "/",
                                         plan.config().data().split().seed(), "/", scenario.seed());
  plan.mutable_config()->clear_seed();
  plan.mutable_config()->mutable_data()->mutable_split()->clear_seed();
  scenario.clear_seed();
  return {{"run config", ToHex(Sha256Of(absl::string_view(DeterministicBytes(plan))))},
          {"scenario", ToHex(Sha256Of(absl::string_view(DeterministicBytes(scenario))))},
          {"seed", seeds},
          {"data", ToHex(DigestOf(*input.data))},
          {"trainer", input.trainer_name},
          {"program version", SimulatorVersion()}};
}

SavedSimulation::SavedSimulation(SavedSimulationOptions options)
    : options_(std::move(options)), began_(absl::Now()) {}

std::string SavedSimulation::PathOf(int turn) const {
  return absl::StrCat(options_.folder, "/", options_.name, ".", turn);
}

// --- What an earlier process left ---------------------------------------------------------------

// Nothing where it is not there, or damaged.
absl::StatusOr<std::optional<CheckpointHead>> SavedSimulation::Look(int turn) const {
  const absl::StatusOr<CheckpointHead> head = ReadCheckpointHead(PathOf(turn));
  if (absl::IsNotFound(head.status())) return std::nullopt;
  absl::Status status = head.status();
  if (head.ok()) {
    const std::vector<std::string> parts = DifferingParts(options_.identity, head->identity);
    if (!parts.empty()) {
      return absl::FailedPreconditionError(
          absl::StrCat(options_.folder, " holds another simulation, which has another ",
                       absl::StrJoin(parts, " and another "),
                       ": give another --out, or --restart to begin anew and lose that one"));
    }
    const std::string base = absl::StrCat(options_.folder, "/", options_.name);
    status = CheckFrames(absl::StrCat(base, ".log"), head->log.log_bytes, kOutcomeBytesMax);
    if (!head->is_last) {
      status.Update(CheckFrames(absl::StrCat(base, ".updates"), head->log.updates_bytes));
    }
  }
  if (status.ok()) return *head;
  spdlog::warn("checkpoint {} can not be used: {}", PathOf(turn), std::string(status.message()));
  return std::nullopt;
}

absl::Status SavedSimulation::FindCheckpoint() {
  for (int turn : {0, 1}) {
    CONSILIUM_ASSIGN_OR_RETURN(const std::optional<CheckpointHead> head, Look(turn));
    if (!head.has_value() || (found_.has_value() && found_->steps >= head->steps)) continue;
    found_ = head;
    turn_ = 1 - turn;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<SavedSimulation>> SavedSimulation::Open(
    SavedSimulationOptions options) {
  std::unique_ptr<SavedSimulation> saved(new SavedSimulation(std::move(options)));
  CONSILIUM_RETURN_IF_ERROR(saved->FindCheckpoint());
  const std::string base = absl::StrCat(saved->options_.folder, "/", saved->options_.name);
  RunLogOptions log = {absl::StrCat(base, ".log"), absl::StrCat(base, ".updates"),
                       saved->options_.updates_bytes_max};
  if (saved->goes_on()) {
    CONSILIUM_ASSIGN_OR_RETURN(saved->log_, RunLog::GoOn(std::move(log), saved->found_->log));
  } else {
    CONSILIUM_ASSIGN_OR_RETURN(saved->log_, RunLog::Create(std::move(log)));
    saved->is_taken_up_ = true;
  }
  return saved;
}

// --- As the simulation goes ---------------------------------------------------------------------

void SavedSimulation::Attach(SimulationInput& input) {
  input.log = log_.get();
  input.idle.folder = options_.folder;
  input.between = [this](Simulation& simulation) { return Between(simulation); };
}

absl::Duration SavedSimulation::wall_time() const {
  const double before = found_.has_value() ? found_->wall_seconds : 0;
  return absl::Seconds(before) + (absl::Now() - began_);
}

absl::Status SavedSimulation::Between(Simulation& simulation) {
  if (is_taken_up_) return IsDue() ? Write(simulation, Moment::kOnTheWay) : absl::OkStatus();
  return simulation.steps() == found_->steps ? TakeUp(simulation) : absl::OkStatus();
}

absl::Status SavedSimulation::TakeUp(Simulation& simulation) {
  CONSILIUM_RETURN_IF_ERROR(log_->EndRecall());
  if (simulation.StateDigest() != found_->state) {
    return NotTheSameAgain();
  }
  CONSILIUM_ASSIGN_OR_RETURN(const SimulationVectors vectors,
                             ReadCheckpointVectors(PathOf(1 - turn_), simulation.idle()));
  is_taken_up_ = true;
  written_ = absl::Now();
  return simulation.Restore(vectors);
}

// Looks at the clock where something costly has happened, and else now and then.
bool SavedSimulation::IsDue() {
  if (log_->kept() == looked_at_ && ++calls_ % kCallsBetweenLooks != 0) return false;
  looked_at_ = log_->kept();
  return absl::Now() - written_ >= options_.interval;
}

absl::Status SavedSimulation::Write(const Simulation& simulation, Moment moment) {
  CheckpointHead head;
  head.identity = options_.identity;
  head.steps = simulation.steps();
  head.state = simulation.StateDigest();
  head.wall_seconds = absl::ToDoubleSeconds(wall_time());
  head.is_last = moment == Moment::kEnd;
  CONSILIUM_ASSIGN_OR_RETURN(head.log, log_->Sync());
  if (head.is_last) head.log.updates_bytes = 0;
  CONSILIUM_RETURN_IF_ERROR(WriteCheckpoint(PathOf(turn_), head, simulation.Vectors()));
  turn_ = 1 - turn_;
  // Writing is no part of the interval.
  written_ = absl::Now();
  return absl::OkStatus();
}

absl::Status SavedSimulation::WriteNow(const Simulation& simulation) {
  return is_taken_up_ ? Write(simulation, Moment::kOnTheWay) : absl::OkStatus();
}

absl::Status SavedSimulation::Finish(const Simulation& simulation, const JournalWriter& writer) {
  if (!is_taken_up_) return NotTheSameAgain();
  if (had_ended()) return absl::OkStatus();
  CONSILIUM_RETURN_IF_ERROR(writer(*log_));
  CONSILIUM_RETURN_IF_ERROR(Write(simulation, Moment::kEnd));
  // What the last checkpoint does not need.
  std::error_code ignored;
  std::filesystem::remove(PathOf(turn_), ignored);
  std::filesystem::remove(absl::StrCat(options_.folder, "/", options_.name, ".updates"), ignored);
  return absl::OkStatus();
}

}  // namespace consilium
