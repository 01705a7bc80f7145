#include "site_agent/runtime/site_work.h"

#include <spdlog/spdlog.h>

#include <bit>
#include <cstring>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "models/spec/personal_layers.h"
#include "models/spec/run_plan.h"
#include "protocol/core/failpoint.h"
#include "protocol/core/printable_text.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/limits.h"
#include "protocol/wire/reasons.h"
#include "site_agent/core/fetched_model.h"
#include "site_agent/core/interval_patients.h"
#include "site_agent/core/release_rules.h"
#include "site_agent/runtime/stored_vector.h"

namespace consilium::site {
namespace {

static_assert(std::endian::native == std::endian::little,
              "payloads are little-endian floats, copied as they lie in memory");

std::span<const uint8_t> BytesOf(const std::vector<float>& values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)};
}

// The journal keeps it: one printable line.
v1::ErrorDetail Explained(const absl::Status& status, v1::Reason fallback) {
  v1::ErrorDetail detail = DetailOf(status);
  if (detail.reason() == v1::REASON_UNSPECIFIED) detail.set_reason(fallback);
  detail.set_message(PrintableText(absl::StrReplaceAll(detail.message(), {{"\n", " "}})));
  return detail;
}

}  // namespace

SiteWork::SiteWork(SiteStore* store, Trainer* trainer, SiteWorkOptions options, PostEvent post)
    : store_(store),
      trainer_(trainer),
      options_(std::move(options)),
      post_(std::move(post)),
      data_(store) {}

SiteWork::~SiteWork() { Stop(); }

void SiteWork::Start() {
  thread_ = std::thread([this] { Loop(); });
}

void SiteWork::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void SiteWork::Queue(Job job) {
  absl::MutexLock lock(&mu_);
  (job.urgency == Job::Urgency::kSoon ? soon_ : when_idle_).push_back(std::move(job));
}

bool SiteWork::HasJobOrStops() const { return stopping_ || !soon_.empty() || !when_idle_.empty(); }

void SiteWork::Loop() {
  for (;;) {
    Job job;
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(this, &SiteWork::HasJobOrStops));
      if (stopping_) return;
      std::deque<Job>& queue = soon_.empty() ? when_idle_ : soon_;
      job = std::move(queue.front());
      queue.pop_front();
    }
    job.work();
  }
}

// --- plans --------------------------------------------------------------------------------------

void SiteWork::Check(const CheckPlan& action) {
  Queue({.run = action.run, .work = [this, action] { post_(CheckNow(action)); }});
}

absl::Status SiteWork::CheckSound(const CheckPlan& action) {
  if (PlanHash(*action.plan) != action.plan_hash) {
    return Refusal(v1::HASH_MISMATCH, "the plan is not the one that its hash names");
  }
  const absl::StatusOr<v1::RunPlan> resolved = ResolvePlan(*action.plan);
  if (!resolved.ok()) return Refusal(v1::SPEC_REFUSED, resolved.status().message());
  if (PlanHash(*resolved) != action.plan_hash) {
    return Refusal(v1::SPEC_REFUSED,
                   "the plan leaves something open that this agent would fill in: its aggregator "
                   "is of another version");
  }
  return absl::OkStatus();
}

absl::StatusOr<TrainingPart> SiteWork::FitNow(const v1::RunPlan& plan) {
  CONSILIUM_ASSIGN_OR_RETURN(const TrainingPart part, data_.Training(plan));
  if (part.patients < options_.minimum_count) {
    return Refusal(v1::TOO_FEW_EXAMPLES,
                   absl::StrCat("fewer patients to train on than this site's minimum of ",
                                options_.minimum_count));
  }
  if (part.patients_per_update_min < options_.minimum_count) {
    return Refusal(
        v1::TOO_FEW_EXAMPLES,
        absl::StrCat("an update of this plan may come from ", part.patients_per_update_min,
                     " patients; this site's minimum is ", options_.minimum_count,
                     ": training.batch_examples times training.local_steps is too "
                     "small"));
  }
  CONSILIUM_RETURN_IF_ERROR(
      CheckIntervals(plan, part.patients_per_interval, options_.minimum_count));
  if (plan.config().data().standardise() != v1::DataConfig::NONE) {
    CONSILIUM_ASSIGN_OR_RETURN(const std::vector<MeasuredSet> sets,
                               data_.MeasuredSets(plan, options_.minimum_count));
    CONSILIUM_RETURN_IF_ERROR(store_->CheckStatistics(sets, options_.minimum_count));
  }
  return part;
}

// Nothing that depends on this site's data is looked at, and so nothing said, before a person has
// approved the run: an offer is not a way to ask what a hospital has.
absl::StatusOr<PlanChecked> SiteWork::AnswerTo(const CheckPlan& action) {
  CONSILIUM_RETURN_IF_ERROR(CheckSound(action));
  PlanChecked checked;
  checked.run = action.run;
  CONSILIUM_ASSIGN_OR_RETURN(const bool approved, store_->IsApproved(action.run, action.plan_hash));
  if (!approved) {
    checked.answer = PlanChecked::Answer::kWaitsForPerson;
    return checked;
  }
  const absl::StatusOr<TrainingPart> part = FitNow(*action.plan);
  // An import mends it: no reason to be out of the run for good.
  if (const v1::ErrorDetail why = DetailOf(part.status()); why.reason() == v1::NO_DATASET) {
    checked.answer = PlanChecked::Answer::kWaitsForData;
    checked.reason = why.reason();
    checked.message = Explained(part.status(), v1::NO_DATASET).message();
    return checked;
  }
  CONSILIUM_RETURN_IF_ERROR(part.status());
  checked.answer = PlanChecked::Answer::kApproved;
  checked.train_examples = part->examples;
  return checked;
}

PlanChecked SiteWork::CheckNow(const CheckPlan& action) {
  const absl::StatusOr<PlanChecked> answer = AnswerTo(action);
  if (answer.ok()) return *answer;
  const v1::ErrorDetail detail = Explained(answer.status(), v1::STORAGE);
  PlanChecked refused;
  refused.run = action.run;
  refused.answer = PlanChecked::Answer::kRefused;
  refused.reason = detail.reason();
  refused.message = detail.message();
  return refused;
}

absl::StatusOr<v1::StatisticsReport> SiteWork::StatisticsNow(const v1::RunPlan& plan) {
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<MeasuredSet> sets,
                             data_.MeasuredSets(plan, options_.minimum_count));
  CONSILIUM_ASSIGN_OR_RETURN(v1::StatisticsReport report,
                             data_.Statistics(plan, options_.minimum_count));
  CONSILIUM_RETURN_IF_ERROR(store_->RecordStatistics(sets, options_.minimum_count));
  return report;
}

void SiteWork::Compute(const ComputeStatistics& action, RunContext run) {
  Queue({.run = action.run, .work = [this, action, run = std::move(run)] {
           absl::StatusOr<v1::StatisticsReport> report = StatisticsNow(*run.plan);
           if (!report.ok()) {
             post_(RunWithdrawn{action.run, PrintableText(report.status().message())});
             return;
           }
           report->set_run_id(action.run.value());
           post_(StatisticsComputed{action.run,
                                    std::make_shared<v1::StatisticsReport>(*std::move(report))});
         }});
}

// --- training -----------------------------------------------------------------------------------

absl::StatusOr<std::vector<float>> SiteWork::ReadKept(const std::optional<Digest>& update) {
  if (!update.has_value()) return std::vector<float>();
  return ReadStoredVector(store_->blobs(), KeptBlobOf(*update));
}

absl::Status SiteWork::StoreVector(const Digest& name, std::span<const uint8_t> payload) {
  BlobStore& blobs = store_->blobs();
  CONSILIUM_ASSIGN_OR_RETURN(SealedBlobWriter writer, blobs.NewWriter());
  CONSILIUM_RETURN_IF_ERROR(writer.Append(payload));
  CONSILIUM_RETURN_IF_ERROR(blobs.Seal(writer, name));
  CONSILIUM_RETURN_IF_ERROR(writer.Sync());
  return blobs.Commit(std::move(writer));
}

absl::StatusOr<TrainDone> SiteWork::TrainNow(const Train& action, const RunContext& run) {
  CONSILIUM_ASSIGN_OR_RETURN(const ModelGraph graph, GraphOf(*run.plan));
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<float> payload,
                             ReadStoredVector(store_->blobs(), action.base_model_id));
  CONSILIUM_ASSIGN_OR_RETURN(const FetchedModel base, PartsOf(payload, graph.layout.elements()));
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<float> kept, ReadKept(action.kept));
  CONSILIUM_ASSIGN_OR_RETURN(const SplitExamples* examples,
                             data_.Encoded(*run.plan, *run.standardisation));
  CONSILIUM_ASSIGN_OR_RETURN(const TrainOutput output,
                             trainer_->Train({.plan = run.plan.get(),
                                              .site = options_.site,
                                              .task = action.task,
                                              .base = base.weights,
                                              .local_steps = action.local_steps,
                                              .examples = &examples->train,
                                              .control = base.control,
                                              .kept = kept}));
  // Nothing of the update is kept, so nothing of it can leave.
  if (output.patients < options_.minimum_count) {
    return absl::FailedPreconditionError(absl::StrCat(
        "its steps, or what they learned of one interval of time, are of fewer patients than this "
        "site's minimum of ",
        options_.minimum_count));
  }
  CONSILIUM_RETURN_IF_ERROR(CheckNothingPersonal(graph, output.delta));
  const std::span<const uint8_t> delta = BytesOf(output.delta);
  auto header = std::make_shared<v1::UpdateHeader>();
  header->set_wire_version(limits::kWireVersion);
  header->set_run_id(action.run.value());
  header->set_site_id(options_.site.value());
  header->set_task_id(action.task.value());
  header->set_incarnation(options_.incarnation.value());
  header->set_base_version(action.base.value());
  header->set_base_model_id(ToBytes(action.base_model_id));
  header->set_layout_hash(ToBytes(graph.layout.Hash()));
  header->set_encoding(v1::F32);
  header->set_payload_bytes(delta.size());
  header->set_payload_root(ToBytes(MerkleRootOf(delta)));
  header->set_steps(output.steps);
  header->set_examples(examples->train.count());
  header->set_training_loss(output.mean_loss);
  CONSILIUM_RETURN_IF_ERROR(CheckUpdateHeader(*header));
  const Digest update = UpdateIdOf(*header);
  if (!output.kept.empty()) {
    CONSILIUM_RETURN_IF_ERROR(StoreVector(KeptBlobOf(update), BytesOf(output.kept)));
  }
  CONSILIUM_RETURN_IF_ERROR(StoreVector(update, delta));
  Failpoint("agent.outbox_blob_synced");
  return TrainDone{action.run, action.task, update, std::move(header)};
}

void SiteWork::Run(const Train& action, RunContext run) {
  Queue({.urgency = Job::Urgency::kWhenIdle,
         .run = action.run,
         .task = action.task,
         .work = [this, action, run = std::move(run)] {
           absl::StatusOr<TrainDone> done = TrainNow(action, run);
           if (done.ok()) {
             post_(*std::move(done));
           } else {
             post_(TrainFailed{action.run, action.task, PrintableText(done.status().message())});
           }
         }});
}

void SiteWork::Cancel(const StopTraining& action) {
  absl::MutexLock lock(&mu_);
  std::erase_if(when_idle_,
                [&](const Job& job) { return job.run == action.run && job.task == action.task; });
}

// --- evaluation ---------------------------------------------------------------------------------

absl::StatusOr<v1::MetricSums> SiteWork::EvaluateNow(const Evaluate& action, const Digest& model_id,
                                                     const RunContext& run) {
  CONSILIUM_ASSIGN_OR_RETURN(const ModelGraph graph, GraphOf(*run.plan));
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<float> payload,
                             ReadStoredVector(store_->blobs(), model_id));
  CONSILIUM_ASSIGN_OR_RETURN(const FetchedModel model, PartsOf(payload, graph.layout.elements()));
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<float> kept, ReadKept(action.kept));
  CONSILIUM_ASSIGN_OR_RETURN(const SplitExamples* examples,
                             data_.Encoded(*run.plan, *run.standardisation));
  const Examples& part = action.split == v1::VALIDATION ? examples->validation : examples->test;
  if (part.count() < options_.minimum_count) return v1::MetricSums();
  CONSILIUM_ASSIGN_OR_RETURN(
      v1::MetricSums metrics,
      trainer_->Evaluate(
          {.plan = run.plan.get(), .weights = model.weights, .examples = &part, .kept = kept}));
  WithholdSmallCounts(options_.minimum_count, part, metrics);
  WithholdFewEventsInIntervals(*run.plan, options_.minimum_count, part, metrics);
  return metrics;
}

void SiteWork::Run(const Evaluate& action, const Digest& model_id, RunContext run) {
  Queue({.run = action.run, .work = [this, action, model_id, run = std::move(run)] {
           absl::StatusOr<v1::MetricSums> metrics = EvaluateNow(action, model_id, run);
           if (!metrics.ok()) {
             spdlog::error("run {}: version {} can not be evaluated: {}", action.run.value(),
                           action.version.value(), std::string(metrics.status().message()));
             metrics = v1::MetricSums();
           }
           post_(EvaluationComputed{action.run, action.version, action.split,
                                    std::make_shared<v1::MetricSums>(*std::move(metrics))});
         }});
}

}  // namespace consilium::site
