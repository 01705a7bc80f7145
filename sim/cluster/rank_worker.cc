#include "sim/cluster/rank_worker.h"

#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "models/spec/run_plan.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/limits.h"
#include "sim/cluster/rank_roster.h"
#include "sim/engine/saved_simulation.h"

namespace consilium {
namespace {

absl::Status NotUnderstood(absl::string_view what) {
  return absl::InternalError(absl::StrCat("rank 0 sends what this program does not: ", what));
}

Ranks::Values Part(const std::vector<float>& values, uint64_t begin, uint64_t count) {
  const auto first = values.begin() + static_cast<ptrdiff_t>(begin);
  return std::make_shared<const std::vector<float>>(first, first + static_cast<ptrdiff_t>(count));
}

}  // namespace

RankWorker::RankWorker(Ranks& ranks, RankWorkerOptions options)
    : ranks_(ranks), options_(std::move(options)) {}

absl::Status RankWorker::Serve() {
  SayHello(ranks_, options_.identity, options_.threads);
  std::vector<std::unique_ptr<Trainer>> trainers;
  for (size_t i = 0; i < options_.threads; ++i) trainers.push_back(options_.trainers());
  std::vector<absl::Status> ends(trainers.size());
  std::vector<std::thread> threads;
  for (size_t i = 1; i < trainers.size(); ++i) {
    threads.emplace_back(
        [this, &end = ends[i], &trainer = *trainers[i]] { end = TrainOnOneThread(trainer); });
  }
  ends[0] = TrainOnOneThread(*trainers[0]);
  for (std::thread& thread : threads) thread.join();
  absl::Status status;
  for (const absl::Status& end : ends) status.Update(end);
  return status;
}

absl::Status RankWorker::TrainOnOneThread(Trainer& trainer) {
  while (true) {
    std::optional<Task> task;
    {
      absl::MutexLock lock(&mu_);
      absl::StatusOr<std::optional<Task>> next = NextTask(trainer);
      ends_ = !next.ok() || !next->has_value();
      if (ends_) return next.status();
      task = *std::move(next);
    }
    if (task->evaluation.split == v1::SPLIT_UNSPECIFIED) {
      Train(*task, trainer);
    } else {
      Evaluate(*task, trainer);
    }
  }
}

absl::StatusOr<std::optional<RankWorker::Task>> RankWorker::NextTask(Trainer& trainer) {
  while (!ends_) {
    CONSILIUM_ASSIGN_OR_RETURN(const RankFrame frame, ranks_.Receive());
    v1::RankMessage message;
    if (frame.rank != 0) return absl::InternalError("another rank than 0 says what to do");
    if (!message.ParseFromString(frame.message)) return NotUnderstood("no message");
    switch (message.kind_case()) {
      case v1::RankMessage::kTask: {
        CONSILIUM_ASSIGN_OR_RETURN(Task task, TaskOf(message.task(), frame));
        return std::optional<Task>(std::move(task));
      }
      case v1::RankMessage::kPrepare: {
        v1::RankMessage answer;
        *answer.mutable_prepared() = Prepare(std::move(*message.mutable_prepare()), trainer);
        ranks_.Send(0, answer.SerializeAsString(), {});
        break;
      }
      case v1::RankMessage::kLeave:
        if (!message.leave().at_once()) return std::optional<Task>();
        ranks_.GiveUpTogether();
        return absl::AbortedError("another rank has died, or the launcher ends this job");
      case v1::RankMessage::kTrial:
        return NotUnderstood("a trial, and this is no search");
      case v1::RankMessage::kTrialResult:
      case v1::RankMessage::kHello:
      case v1::RankMessage::kPrepared:
      case v1::RankMessage::kResult:
      case v1::RankMessage::KIND_NOT_SET:
        return NotUnderstood("a message that is for rank 0");
    }
  }
  return std::optional<Task>();
}

// --- Before a simulation ------------------------------------------------------------------------

absl::Status RankWorker::Load(v1::RankPrepare message) {
  auto prepared = std::make_shared<Prepared>();
  CONSILIUM_ASSIGN_OR_RETURN(const ModelGraph graph, GraphOf(message.plan()));
  CONSILIUM_ASSIGN_OR_RETURN(
      FederationData data,
      LoadScenarioData(message.scenario(), message.plan(), options_.data_folder));
  prepared->elements = graph.layout.elements();
  prepared->sites = WorkOptions(message.scenario(), data);
  prepared->data = std::make_shared<const FederationData>(std::move(data));
  prepared->plan = std::make_shared<const v1::RunPlan>(std::move(*message.mutable_plan()));
  prepared->cache = std::make_unique<ExamplesCache>(kExamplesCacheBytesMax);
  // A model with a control variate as long as it, and what the site keeps.
  ranks_.SetValuesMax(3 * prepared->elements);
  prepared_ = std::move(prepared);
  return absl::OkStatus();
}

v1::RankPrepared RankWorker::Prepare(v1::RankPrepare message, Trainer& trainer) {
  v1::RankPrepared answer;
  prepared_ = nullptr;
  if (const absl::Status loaded = Load(std::move(message)); !loaded.ok()) {
    answer.set_error(std::string(loaded.message()));
    return answer;
  }
  answer.set_data(ToBytes(DigestOf(*prepared_->data)));
  answer.set_probe(ToBytes(ProbeTraining(*prepared_->plan, *prepared_->data, trainer)));
  return answer;
}

// --- Tasks --------------------------------------------------------------------------------------

absl::StatusOr<RankWorker::Task> RankWorker::TaskOf(const v1::RankTask& message,
                                                    const RankFrame& frame) {
  if (prepared_ == nullptr) return NotUnderstood("a task of no simulation");
  Prepared& prepared = *prepared_;
  const uint64_t base = message.base_elements();
  const uint64_t kept = message.kept_elements();
  const uint64_t elements = prepared.elements;
  const bool fits = (base == 0 || base == elements || base == 2 * elements) &&
                    (kept == 0 || kept == elements) && frame.values.size() == base + kept;
  if (!fits) return NotUnderstood("vectors of another model");
  if (message.has_standardisation()) {
    prepared.standardisation =
        std::make_shared<const v1::Standardisation>(message.standardisation());
  }
  if (base != 0) prepared.base = Part(frame.values, 0, base);
  const SiteId site(message.site_id());
  const bool evaluates = message.evaluate() == v1::VALIDATION || message.evaluate() == v1::TEST;
  const bool trains = message.evaluate() == v1::SPLIT_UNSPECIFIED && message.local_steps() > 0 &&
                      message.local_steps() <= limits::kLocalStepsMax;
  if (prepared.standardisation == nullptr || prepared.base == nullptr ||
      !prepared.sites.contains(site) || (!trains && !evaluates)) {
    return NotUnderstood("a task that lacks something");
  }
  Task task;
  task.number = message.number();
  task.site = site;
  task.of = prepared_;
  task.task.plan = prepared.plan;
  task.task.standardisation = prepared.standardisation;
  task.task.id = TaskId(message.task_id());
  task.task.local_steps = message.local_steps();
  task.task.payload = prepared.base;
  if (kept != 0) task.task.kept = Part(frame.values, base, kept);
  if (evaluates) {
    task.evaluation = {task.task.plan, task.task.standardisation, message.evaluate(),
                       task.task.payload, task.task.kept};
  }
  return task;
}

void RankWorker::Train(const Task& task, Trainer& trainer) {
  const SiteWork work(task.of->sites.at(task.site), task.of->data->at(task.site), trainer,
                      *task.of->cache);
  absl::StatusOr<SiteWork::Trained> trained = work.ComputeTraining(task.task, trainer);
  if (!trained.ok()) return Answer(task.number, trained.status());
  TrainOutput& output = trained->output;
  v1::RankMessage message;
  v1::RankResult& result = *message.mutable_result();
  result.set_number(task.number);
  result.set_steps(output.steps);
  result.set_mean_loss(output.mean_loss);
  result.set_patients(output.patients);
  result.set_examples(trained->examples);
  result.set_delta_elements(output.delta.size());
  result.set_kept_elements(output.kept.size());
  ranks_.Send(0, message.SerializeAsString(),
              {std::make_shared<const std::vector<float>>(std::move(output.delta)),
               std::make_shared<const std::vector<float>>(std::move(output.kept))});
}

void RankWorker::Evaluate(const Task& task, Trainer& trainer) {
  const SiteWork work(task.of->sites.at(task.site), task.of->data->at(task.site), trainer,
                      *task.of->cache);
  absl::StatusOr<v1::MetricSums> metrics = work.ComputeEvaluation(task.evaluation, trainer);
  if (!metrics.ok()) return Answer(task.number, metrics.status());
  v1::RankMessage message;
  message.mutable_result()->set_number(task.number);
  *message.mutable_result()->mutable_metrics() = *std::move(metrics);
  ranks_.Send(0, message.SerializeAsString(), {});
}

void RankWorker::Answer(uint64_t number, const absl::Status& failure) {
  v1::RankMessage message;
  message.mutable_result()->set_number(number);
  message.mutable_result()->set_code(static_cast<uint32_t>(failure.code()));
  message.mutable_result()->set_message(std::string(failure.message()));
  ranks_.Send(0, message.SerializeAsString(), {});
}

}  // namespace consilium
