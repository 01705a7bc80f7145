#include "sim/engine/outcomes.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "aggregator/core/journal_codec.h"
#include "aggregator/merge/run_program.h"
#include "aggregator/merge/update_findings.h"
#include "consilium/v1/journal.pb.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"

namespace consilium {
namespace {

constexpr char kTrained = 'T';
constexpr char kTrainedAndKept = 'K';
constexpr char kTrainingFailed = 'F';
constexpr char kEvaluated = 'E';
constexpr char kProgramRun = 'C';

absl::Status AnotherSimulations() {
  return absl::DataLossError(
      "the simulation does not do again what its log tells of: it was begun by another version of "
      "this program");
}

}  // namespace

std::shared_ptr<const std::vector<float>> Outcomes::Placeholder(uint64_t elements) {
  if (placeholder_ == nullptr || placeholder_->size() != elements) {
    placeholder_ = std::make_shared<const std::vector<float>>(elements);
  }
  return placeholder_;
}

absl::Status Outcomes::Recall(char kind, google::protobuf::Message& message) {
  CONSILIUM_ASSIGN_OR_RETURN(const Frame frame, log_->Recall());
  if (frame.kind != kind || !message.ParseFromString(frame.bytes)) return AnotherSimulations();
  return absl::OkStatus();
}

absl::Status Outcomes::Keep(char kind, const google::protobuf::Message& message) {
  return log_ == nullptr ? absl::OkStatus() : log_->Keep(kind, message.SerializeAsString());
}

// --- Training ---------------------------------------------------------------------------------

// Before memory is taken for it: whoever can write the log can make its digests fit, too.
absl::Status Outcomes::CheckLength(const v1::UpdateHeader& header, uint64_t elements) const {
  if (header.payload_bytes() == elements * sizeof(float)) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrFormat("%s: header.payload_bytes of an update is %d, where the model has %d bytes",
                      log_->path(), header.payload_bytes(), elements * sizeof(float)));
}

absl::StatusOr<TrainedUpdate> Outcomes::RecallTraining(uint64_t elements) {
  CONSILIUM_ASSIGN_OR_RETURN(const Frame frame, log_->Recall());
  if (frame.kind == kTrainingFailed) return absl::FailedPreconditionError(frame.bytes);
  v1::UpdateStaged staged;
  const bool has_kept = frame.kind == kTrainedAndKept;
  if ((frame.kind != kTrained && !has_kept) || !staged.ParseFromString(frame.bytes))
    return AnotherSimulations();
  CONSILIUM_RETURN_IF_ERROR(CheckLength(staged.header(), elements));
  TrainedUpdate trained;
  trained.header = std::make_shared<v1::UpdateHeader>(staged.header());
  trained.update.norm = staged.norm();
  trained.update.is_finite = staged.finite();
  trained.update.delta = Placeholder(elements);
  // Of whatever length: nothing reads it.
  if (has_kept) trained.kept = std::make_shared<const std::vector<float>>();
  return trained;
}

absl::StatusOr<TrainedUpdate> Outcomes::Train(
    uint64_t elements, absl::FunctionRef<absl::StatusOr<SiteWork::Update>()> compute) {
  if (IsRecalling()) return RecallTraining(elements);
  absl::StatusOr<SiteWork::Update> update = compute();
  if (absl::IsFailedPrecondition(update.status()) && log_ != nullptr) {
    CONSILIUM_RETURN_IF_ERROR(log_->Keep(kTrainingFailed, update.status().message()));
  }
  CONSILIUM_RETURN_IF_ERROR(update.status());
  UpdateFindings findings;
  findings.Add(update->delta);
  TrainedUpdate trained;
  trained.header = std::move(update->header);
  trained.update.norm = findings.norm();
  trained.update.is_finite = findings.finite();
  trained.update.delta = std::make_shared<const std::vector<float>>(std::move(update->delta));
  if (!update->kept.empty()) {
    trained.kept = std::make_shared<const std::vector<float>>(std::move(update->kept));
  }
  v1::UpdateStaged staged;
  *staged.mutable_header() = *trained.header;
  staged.set_norm(trained.update.norm);
  staged.set_finite(trained.update.is_finite);
  CONSILIUM_RETURN_IF_ERROR(Keep(trained.kept == nullptr ? kTrained : kTrainedAndKept, staged));
  return trained;
}

absl::StatusOr<v1::MetricSums> Outcomes::Evaluate(
    absl::FunctionRef<absl::StatusOr<v1::MetricSums>()> compute) {
  v1::MetricSums sums;
  if (IsRecalling()) {
    CONSILIUM_RETURN_IF_ERROR(Recall(kEvaluated, sums));
    return sums;
  }
  CONSILIUM_ASSIGN_OR_RETURN(sums, compute());
  CONSILIUM_RETURN_IF_ERROR(Keep(kEvaluated, sums));
  return sums;
}

// --- Programs ---------------------------------------------------------------------------------

absl::StatusOr<ProgramResult> Outcomes::Run(const federation::Compute& action,
                                            MemoryVectorStore& store) {
  v1::ComputeDone done;
  if (!IsRecalling()) {
    CONSILIUM_ASSIGN_OR_RETURN(ProgramResult result, RunProgram(action.code, store, nullptr));
    done.set_program_id(action.program);
    done.mutable_scalars()->Add(result.scalars.begin(), result.scalars.end());
    done.set_payload_root(ToBytes(result.payload_root));
    CONSILIUM_RETURN_IF_ERROR(Keep(kProgramRun, done));
    return result;
  }
  CONSILIUM_RETURN_IF_ERROR(Recall(kProgramRun, done));
  const auto root = DigestFromBytes(done.payload_root());
  if (done.program_id() != action.program || !root.has_value()) return AnotherSimulations();
  if (action.code.result.kind == VectorName::Kind::kModel) {
    CONSILIUM_RETURN_IF_ERROR(store.Put(action.code.result, Placeholder(store.elements())));
    if (action.code.control.has_value()) {
      CONSILIUM_RETURN_IF_ERROR(store.Put(*action.code.control, Placeholder(store.elements())));
    }
  }
  return ProgramResult{{done.scalars().begin(), done.scalars().end()}, *root};
}

// --- The journal ------------------------------------------------------------------------------

absl::Status Outcomes::AddInput(Sequence sequence, absl::Time now, const federation::Event& event) {
  if (!IsKeeping()) return absl::OkStatus();
  return log_->AddInput(federation::EncodeJournalEntry({sequence, now, event}));
}

absl::Status Outcomes::AddAccepted(const Digest& update, std::span<const float> delta) {
  return IsKeeping() ? log_->AddUpdate(update, delta) : absl::OkStatus();
}

}  // namespace consilium
