#include "sim/engine/replay.h"

#include <memory>
#include <optional>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "aggregator/core/journal_codec.h"
#include "aggregator/core/strategies/control_variates.h"
#include "aggregator/merge/memory_vector_store.h"
#include "aggregator/merge/run_program.h"
#include "models/spec/initial_values.h"
#include "models/spec/run_plan.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/identity.h"

namespace consilium {
namespace {

namespace fed = federation;

std::span<const uint8_t> AsBytes(std::span<const float> values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()};
}

// The header that the site sent with `delta`, out of what the journal keeps of it.
v1::UpdateHeader HeaderOf(const fed::UpdateStaged& staged, std::span<const float> delta) {
  v1::UpdateHeader header;
  header.set_run_id(staged.run.value());
  header.set_site_id(staged.site.value());
  header.set_task_id(staged.task.value());
  header.set_base_version(staged.base.value());
  header.set_base_model_id(ToBytes(staged.base_model_id));
  header.set_layout_hash(ToBytes(staged.layout_hash));
  header.set_encoding(v1::F32);
  header.set_payload_bytes(delta.size_bytes());
  header.set_payload_root(ToBytes(MerkleRootOf(AsBytes(delta))));
  header.set_steps(staged.steps);
  header.set_examples(staged.examples);
  header.set_training_loss(staged.training_loss);
  return header;
}

class Replayer {
 public:
  Replayer(const Recording& recording, const ReplayOptions& options)
      : recording_(recording), options_(options) {}

  absl::Status Feed(const v1::JournalEntry& entry);
  // NOT_FOUND where there is no such run.
  absl::StatusOr<ReplayResult> Take();

 private:
  using Task = std::variant<fed::Compute, fed::DrawInitialModel>;

  absl::Status CheckDone(const fed::ComputeDone& done);
  absl::StatusOr<ProgramResult> Run(const fed::Compute& task);
  absl::StatusOr<ProgramResult> Run(const fed::DrawInitialModel& task);
  absl::Status TakeUpdate(const fed::UpdateStaged& staged);
  absl::StatusOr<TrainOutput> Retrain(const fed::UpdateStaged& staged);
  std::span<const float> KeptBefore(const SiteId& site) const;
  absl::StatusOr<const SplitExamples*> ExamplesOf(const SiteId& site);
  MemoryVectorStore& Store();
  const fed::RunState* State() const;

  const Recording& recording_;
  const ReplayOptions& options_;
  ReplayResult result_;
  std::unique_ptr<MemoryVectorStore> store_;
  std::map<uint64_t, Task> pending_;
  std::map<SiteId, SplitExamples> examples_;
  std::map<Digest, std::vector<float>>
      kept_;  // What was kept with an update that was trained again.
};

const fed::RunState* Replayer::State() const {
  auto found = result_.engine.runs().find(recording_.run);
  return found == result_.engine.runs().end() ? nullptr : &found->second;
}

MemoryVectorStore& Replayer::Store() {
  if (store_ == nullptr) store_ = std::make_unique<MemoryVectorStore>(State()->elements);
  return *store_;
}

absl::StatusOr<ProgramResult> Replayer::Run(const fed::Compute& task) {
  return RunProgram(task.code, Store(), nullptr);
}

absl::StatusOr<ProgramResult> Replayer::Run(const fed::DrawInitialModel&) {
  CONSILIUM_ASSIGN_OR_RETURN(const ModelGraph graph, GraphOf(*State()->plan));
  std::vector<float> values = InitialValues(graph, State()->plan->config().seed());
  ProgramResult result;
  result.payload_root = MerkleRootOf(AsBytes(values));
  CONSILIUM_RETURN_IF_ERROR(Store().Put(VectorName::Model(Version(0)), std::move(values)));
  return result;
}

// Computes what was computed then, before the engine hears of it.
absl::Status Replayer::CheckDone(const fed::ComputeDone& done) {
  auto found = pending_.find(done.program);
  if (State() == nullptr || found == pending_.end()) {
    result_.mismatches.push_back(
        absl::StrFormat("program %d ended, but the engine did not ask for it", done.program));
    return absl::OkStatus();
  }
  absl::StatusOr<ProgramResult> result =
      std::visit([this](const auto& task) { return Run(task); }, found->second);
  CONSILIUM_RETURN_IF_ERROR(result.status());
  ++result_.programs_run;
  const auto* const compute = std::get_if<fed::Compute>(&found->second);
  const Version version = compute == nullptr ? Version(0) : State()->current().next();
  if (compute == nullptr || compute->code.result.kind == VectorName::Kind::kModel) {
    result_.payload_roots[version] = result->payload_root;
  }
  if (result->payload_root != done.payload_root) {
    result_.mismatches.push_back(absl::StrFormat("version %d: recorded %s, computed %s",
                                                 version.value(), ToHex(done.payload_root),
                                                 ToHex(result->payload_root)));
  }
  if (result->scalars != done.scalars) {
    result_.mismatches.push_back(
        absl::StrFormat("version %d: its scalars differ from the recorded ones", version.value()));
  }
  pending_.erase(found);
  return absl::OkStatus();
}

absl::StatusOr<const SplitExamples*> Replayer::ExamplesOf(const SiteId& site) {
  if (auto found = examples_.find(site); found != examples_.end()) return &found->second;
  auto data = options_.data->find(site);
  if (data == options_.data->end()) {
    return absl::NotFoundError(
        absl::StrFormat("there is no data for site '%s' to train its updates again: "
                        "--data %s=FILE says where its table lies, once for each site",
                        site.value(), site.value()));
  }
  CONSILIUM_ASSIGN_OR_RETURN(SplitExamples encoded,
                             EncodeSite(*State()->plan, *State()->standardisation, data->second));
  return &examples_.emplace(site, std::move(encoded)).first->second;
}

// What the site kept when it trained: that of the last of its updates that a version includes. It
// trains no task before the ones before it have ended, so that this can be told from here.
std::span<const float> Replayer::KeptBefore(const SiteId& site) const {
  const fed::Participant& participant = State()->participants.at(site);
  if (!participant.latest_folded.has_value()) return {};
  const auto kept = kept_.find(participant.tasks.at(*participant.latest_folded).update);
  return kept == kept_.end() ? std::span<const float>() : kept->second;
}

absl::StatusOr<TrainOutput> Replayer::Retrain(const fed::UpdateStaged& staged) {
  CONSILIUM_ASSIGN_OR_RETURN(const SplitExamples* examples, ExamplesOf(staged.site));
  CONSILIUM_ASSIGN_OR_RETURN(const auto base, Store().Get(VectorName::Model(staged.base)));
  TrainInput input;
  input.plan = State()->plan.get();
  input.site = staged.site;
  input.task = staged.task;
  input.base = *base;
  input.local_steps = State()->participants.at(staged.site).tasks.at(staged.task).local_steps;
  input.examples = &examples->train;
  const std::optional<VectorName> control = fed::ControlOf(*State(), staged.base);
  std::shared_ptr<const std::vector<float>> control_values;
  if (control.has_value()) {
    CONSILIUM_ASSIGN_OR_RETURN(control_values, Store().Get(*control));
    input.control = *control_values;
  }
  input.kept = KeptBefore(staged.site);
  ++result_.updates_retrained;
  return options_.trainer->Train(input);
}

absl::Status Replayer::TakeUpdate(const fed::UpdateStaged& staged) {
  const VectorName name = VectorName::Update(staged.update);
  if (Store().Get(name).ok()) return absl::OkStatus();
  if (options_.trainer != nullptr) {
    CONSILIUM_ASSIGN_OR_RETURN(TrainOutput output, Retrain(staged));
    fed::UpdateStaged trained = staged;
    trained.steps = output.steps;
    trained.training_loss = output.mean_loss;
    trained.examples = examples_.at(staged.site).train.count();
    if (UpdateIdOf(HeaderOf(trained, output.delta)) != staged.update) {
      result_.mismatches.push_back(
          absl::StrFormat("%s, task %d: trained again, it is not update %s", staged.site.value(),
                          staged.task.value(), ToHex(staged.update)));
    }
    if (!output.kept.empty()) kept_[staged.update] = std::move(output.kept);
    return Store().Put(name, std::move(output.delta));
  }
  auto found = recording_.updates.find(staged.update);
  // Missed only if a program needs it, which then says so.
  if (found == recording_.updates.end()) return absl::OkStatus();
  if (UpdateIdOf(HeaderOf(staged, found->second)) != staged.update) {
    result_.mismatches.push_back(
        absl::StrFormat("update %s: its bytes are not those of its id", ToHex(staged.update)));
  }
  return Store().Put(name, found->second);
}

absl::Status Replayer::Feed(const v1::JournalEntry& entry) {
  CONSILIUM_ASSIGN_OR_RETURN(const fed::JournalledEvent input, fed::DecodeJournalEntry(entry));
  if (const auto* submitted = std::get_if<fed::RunSubmitted>(&input.event);
      submitted != nullptr && submitted->run == recording_.run) {
    CONSILIUM_RETURN_IF_ERROR(CheckRecordedPlan(*submitted->plan, options_.model_bytes_max));
  }
  const auto* done = std::get_if<fed::ComputeDone>(&input.event);
  if (done != nullptr && done->run == recording_.run) {
    CONSILIUM_RETURN_IF_ERROR(CheckDone(*done));
  }
  std::vector<fed::Action> actions = result_.engine.Step(input.now, input.event);
  for (fed::Action& action : actions) {
    if (auto* compute = std::get_if<fed::Compute>(&action)) {
      if (compute->run == recording_.run) pending_[compute->program] = std::move(*compute);
    } else if (auto* draw = std::get_if<fed::DrawInitialModel>(&action)) {
      if (draw->run == recording_.run) pending_[draw->program] = *draw;
    }
  }
  if (done != nullptr && done->run == recording_.run && State() != nullptr &&
      !State()->versions.empty()) {
    CONSILIUM_RETURN_IF_ERROR(Store().SwitchState(State()->current()));
  }
  const auto* staged = std::get_if<fed::UpdateStaged>(&input.event);
  if (staged == nullptr || staged->run != recording_.run || State() == nullptr) {
    return absl::OkStatus();
  }
  // Only what was admitted is computed with.
  for (const fed::Action& action : actions) {
    const auto* receipt = std::get_if<fed::SendReceipt>(&action);
    if (receipt != nullptr && receipt->kind == v1::Receipt::ACCEPTED &&
        receipt->update == staged->update) {
      return TakeUpdate(*staged);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ReplayResult> Replayer::Take() {
  if (State() == nullptr) {
    return absl::NotFoundError(
        absl::StrFormat("the recording has no run '%s'", recording_.run.value()));
  }
  if (!State()->versions.empty()) {
    const auto newest = Store().Get(VectorName::Model(State()->current()));
    if (newest.ok()) result_.newest_model = *newest;
  }
  return std::move(result_);
}

}  // namespace

absl::Status CheckRecordedPlan(const v1::RunPlan& plan, uint64_t model_bytes_max) {
  CONSILIUM_ASSIGN_OR_RETURN(const v1::RunPlan resolved, ResolvePlan(plan));
  CONSILIUM_ASSIGN_OR_RETURN(const ModelGraph graph, GraphOf(resolved));
  const uint64_t elements_max = model_bytes_max / sizeof(float);
  if (graph.layout.elements() <= elements_max) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrFormat("the recorded model has %d numbers; a replay takes up to %d",
                      graph.layout.elements(), elements_max));
}

absl::Status CheckSequence(const v1::JournalEntry& entry, uint64_t last) {
  if (entry.sequence() > last) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "an entry of the recording goes back from sequence %d to %d", last, entry.sequence()));
}

absl::StatusOr<ReplayResult> Replay(const Recording& recording, const ReplayOptions& options) {
  Replayer replayer(recording, options);
  uint64_t last = 0;
  for (size_t i = 0; i < recording.entries.size(); ++i) {
    const v1::JournalEntry& entry = recording.entries[i];
    CONSILIUM_RETURN_IF_ERROR(CheckSequence(entry, last));
    last = entry.sequence();
    CONSILIUM_RETURN_IF_ERROR(replayer.Feed(entry));
    if (options.progress) options.progress(i + 1, recording.entries.size());
  }
  return replayer.Take();
}

}  // namespace consilium
