// What EngineLoop does before its thread starts: state = fold(Step, journal), and the files on disk
// made to fit it.

#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "aggregator/core/journal_codec.h"
#include "aggregator/core/strategies/control_variates.h"
#include "aggregator/server/engine_loop.h"
#include "aggregator/server/journal_head.h"
#include "consilium/v1/journal.pb.h"
#include "protocol/core/status_macros.h"

namespace consilium {

absl::Status EngineLoop::Recover() {
  CONSILIUM_ASSIGN_OR_RETURN(std::vector<ChainHead> known,
                             KnownHeads(parts_.store, parts_.receipts.key().public_key()));
  ChainVerifier verifier({}, known);
  CONSILIUM_RETURN_IF_ERROR(
      parts_.store.ReadJournal(Sequence(1), [this, &verifier](const ChainRow& row) {
        CONSILIUM_RETURN_IF_ERROR(verifier.Check(row));
        return Replay(row);
      }));
  CONSILIUM_RETURN_IF_ERROR(verifier.Finish());
  // Before anything is appended: from here on there is a head.
  CONSILIUM_RETURN_IF_ERROR(KeepHead(parts_.store, parts_.receipts.key()));
  CONSILIUM_RETURN_IF_ERROR(RestoreVectors());
  spdlog::info("recovered {} journal entries, {} sites, {} runs", engine_.sequence().value(),
               engine_.sites().size(), engine_.runs().size());
  return absl::OkStatus();
}

absl::Status EngineLoop::Replay(const ChainRow& row) {
  const auto damaged = [&row](absl::string_view why) {
    return absl::DataLossError(absl::StrCat("journal entry ", row.sequence.value(), ": ", why));
  };
  v1::JournalEntry entry;
  if (!entry.ParseFromArray(row.payload.data(), static_cast<int>(row.payload.size()))) {
    return damaged("is no journal entry");
  }
  absl::StatusOr<federation::JournalledEvent> input =
      federation::DecodeJournalEntry(std::move(entry));
  if (!input.ok()) return damaged(input.status().message());
  const std::optional<Version> made = VersionMadeBy(input->event);
  if (made.has_value()) {
    replayed_[std::get<federation::ComputeDone>(input->event).run].made.push_back(*made);
  }
  if (parts_.gate.has_value()) parts_.gate->BeforeStep(engine_, input->event);
  std::vector<federation::Action> actions = engine_.Step(input->now, input->event);
  if (engine_.sequence() != row.sequence || input->sequence != row.sequence) {
    return damaged("is not the next input");
  }
  for (const federation::Action& action : actions) {
    const auto* compute = std::get_if<federation::Compute>(&action);
    if (compute != nullptr && compute->code.result.kind == VectorName::Kind::kModel) {
      replayed_[compute->run].asked.emplace_back(Version(compute->code.result.number),
                                                 compute->code.state_slots);
    } else if (const auto* forget = std::get_if<federation::Forget>(&action)) {
      effects_->NoteForgotten(*forget);
    }
  }
  if (parts_.gate.has_value()) parts_.gate->AfterStep(engine_, actions);
  return absl::OkStatus();
}

absl::Status EngineLoop::RestoreVectors() {
  for (const auto& [id, run] : engine_.runs()) {
    parts_.runs.Refresh(run, {});
    if (run.phase == federation::RunPhase::kPurged) {
      // Again, in case that a crash came between the record and the files.
      CONSILIUM_RETURN_IF_ERROR(parts_.vectors.Purge(id).status());
      continue;
    }
    CONSILIUM_ASSIGN_OR_RETURN(const std::shared_ptr<SealedVectors> vectors,
                               parts_.vectors.Get(id, run.elements));
    const ReplayedPrograms& programs = replayed_[id];
    for (const auto& [makes, slots] : programs.asked) vectors->NoteProgram(makes, slots);
    for (const Version made : programs.made) {
      CONSILIUM_RETURN_IF_ERROR(vectors->SwitchState(made));
    }
    CONSILIUM_RETURN_IF_ERROR(Sweep(run, *vectors));
  }
  replayed_.clear();
  return absl::OkStatus();
}

absl::Status EngineLoop::Sweep(const federation::RunState& run, SealedVectors& vectors) {
  std::vector<VectorName> needed;
  const auto keep = [this, &run, &needed](const VectorName& name) {
    if (!effects_->IsForgotten(run.run, name)) needed.push_back(name);
  };
  for (const federation::VersionState& version : run.versions) {
    keep(VectorName::Model(version.version));
    const std::optional<VectorName> control = federation::ControlOf(run, version.version);
    if (control.has_value()) keep(*control);
  }
  for (const auto& [site, participant] : run.participants) {
    for (const auto& [task, state] : participant.tasks) {
      if (IsNamed({.run = run.run, .site = site, .task = task, .update = state.update})) {
        needed.push_back(VectorName::Update(state.update));
      }
    }
  }
  CONSILIUM_ASSIGN_OR_RETURN(const uint64_t removed, vectors.Sweep(needed));
  if (removed > 0) {
    spdlog::info("run {}: removed {} blobs that nothing names", run.run.value(), removed);
  }
  return absl::OkStatus();
}

}  // namespace consilium
