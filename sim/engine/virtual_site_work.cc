// What a virtual site computes: its training, which takes virtual time, and its evaluation.

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/identity.h"
#include "sim/engine/virtual_site.h"

namespace consilium {
namespace {

// A task that is trained again after a crash has a fate of its own.
constexpr int kIncarnationShift = 40;

// The task with its vectors, `kept` where it is not null.
template <typename Task>
absl::StatusOr<Task> WithVectors(Task task, const IdleVector& payload, const IdleVector* kept) {
  CONSILIUM_ASSIGN_OR_RETURN(task.payload, payload.Read());
  if (kept != nullptr) {
    CONSILIUM_ASSIGN_OR_RETURN(task.kept, kept->Read());
  }
  return task;
}

}  // namespace

absl::Duration VirtualSite::WorkOf(const site::Train& action) const {
  if (action.local_steps == options_.local_steps) return options_.task_duration;
  return options_.task_duration * (static_cast<double>(action.local_steps) / options_.local_steps);
}

// Nothing is told of transfers apart from training, so that all of it is taken to hang on the
// steps.
absl::Duration VirtualSite::RecordedWork(const site::Train& action) const {
  const RecordedTask* const task = options_.record->TaskAt(tasks_done_);
  if (task == nullptr) return absl::InfiniteDuration();
  const bool is_alike = work_.PlaysBack() || task->local_steps == 0;
  if (is_alike || task->local_steps == action.local_steps) return task->work;
  return task->work * (static_cast<double>(action.local_steps) / task->local_steps);
}

site::Train VirtualSite::AsFetched(site::Train action) const {
  const RecordedTask* const task = options_.record->TaskAt(tasks_done_);
  if (task == nullptr || task->lag <= absl::ZeroDuration()) return action;
  const federation::RunState& run = aggregator_.engine().runs().at(action.run);
  const Version base_min = engine_.runs().at(action.run).tasks.at(action.task).base_min;
  const absl::Time fetched = world_.now() - task->lag;
  Version base = action.base;
  while (base > base_min && run.versions[base.value()].committed_at > fetched) {
    base = Version(base.value() - 1);
  }
  action.base = base;
  action.base_model_id = run.versions[base.value()].model_id;
  return action;
}

VirtualSite::TaskFate VirtualSite::DrawTask(const site::Train& action) const {
  TaskFate fate;
  const v1::Faults& faults = options_.faults;
  const bool drawn = options_.task_speed.kind_case() != v1::Speed::KIND_NOT_SET ||
                     faults.crash_rate() > 0 || faults.leave_rate() > 0;
  if (!drawn) return fate;
  RandomStream random(SeedPath{options_.seed, "task", options_.id.value(),
                               action.task.value() + (incarnation_.value() << kIncarnationShift)});
  fate.slowdown = DrawSpeed(options_.task_speed, random);
  const bool leaves = random.NextUnit() < faults.leave_rate();
  const bool crashes = random.NextUnit() < faults.crash_rate();
  fate.after = random.NextUnit();
  if (crashes) fate.ends = SiteTurn::Kind::kCrashes;
  if (leaves) fate.ends = SiteTurn::Kind::kLeaves;
  return fate;
}

template <typename Output, typename Job>
std::shared_ptr<VirtualSite::AtWorker<Output>> VirtualSite::BeginAtWorker(const SiteTurn& end,
                                                                          Job job) {
  auto at_worker = std::make_shared<AtWorker<Output>>();
  at_worker->job = world_.workers->Begin(
      options_.index,
      [this, at_worker, job = std::move(job)](TaskWorker& who) {
        at_worker->began = world_.workers->Now();
        at_worker->output = job(who);
      },
      [this, end] { world_.queue.Schedule(world_.now(), end); });
  return at_worker;
}

void VirtualSite::Train(const site::Train& action) {
  const auto base = models_.find({action.run, action.base});
  if (base == models_.end()) {
    world_.failure.Update(absl::InternalError(
        absl::StrCat(options_.id.value(), " trains on a version that it does not have")));
    return;
  }
  const absl::Time now = world_.now();
  training_ = Training{action, base->second, ++trainings_, now};
  if (world_.workers != nullptr) {
    training_->at_worker = BeginAtWorker<SiteWork::Trained>(
        {options_.index, SiteTurn::Kind::kTrained, training_->number}, JobOf(*training_));
    return;
  }
  if (options_.record != nullptr) {
    const site::Train earlier = AsFetched(action);
    const auto model = aggregator_.FetchedOf(action.run, earlier.base);
    if (model.ok()) {
      training_->action = earlier;
      training_->base = *model;
    } else if (!absl::IsNotFound(model.status())) {  // Which retention may have let go.
      world_.failure.Update(model.status());
    }
  }
  const TaskFate fate = DrawTask(action);
  const absl::Time done = options_.record != nullptr
                              ? now + RecordedWork(action)
                              : timeline().ComputeDone(now, WorkOf(action) * fate.slowdown);
  if (done == absl::InfiniteFuture()) {
    has_fallen_silent_ = options_.record != nullptr;
    return;
  }
  if (fate.ends.has_value()) {
    Turn(now + (done - now) * fate.after, *fate.ends, incarnation_.value());
  } else {
    training_->due = done;
    BeginTraining();
  }
  Turn(done, SiteTurn::Kind::kTrained, training_->number);
}

std::function<absl::StatusOr<SiteWork::Trained>(TaskWorker&)> VirtualSite::JobOf(
    const Training& training) const {
  const site::Train& action = training.action;
  const site::RunState& run = engine_.runs().at(action.run);
  SiteWork::TrainingTask task;
  task.plan = run.plan;
  task.standardisation = run.standardisation;
  task.id = action.task;
  task.local_steps = action.local_steps;
  const IdleVectors::Held kept = action.kept.has_value() ? kept_.at(*action.kept) : nullptr;
  return [this, task, base = training.base,
          kept](TaskWorker& who) -> absl::StatusOr<SiteWork::Trained> {
    CONSILIUM_ASSIGN_OR_RETURN(const SiteWork::TrainingTask whole,
                               WithVectors(task, *base, kept.get()));
    return who.Train(work_, whole);
  };
}

void VirtualSite::BeginTraining() {
  if (world_.trainings == nullptr || world_.outcomes.IsRecalling() || work_.PlaysBack()) return;
  if (training_->due == absl::InfiniteFuture()) return;
  training_->begun = world_.trainings->Begin(training_->due, JobOf(*training_));
}

absl::StatusOr<SiteWork::Update> VirtualSite::Compute(const Training& training) {
  if (work_.PlaysBack()) {
    return work_.UpdateOf(engine_.runs().at(training.action.run), training.action,
                          SiteWork::PlayedBack(*options_.record->TaskAt(tasks_done_)));
  }
  LocalWorker own(work_.trainer());
  absl::StatusOr<SiteWork::Trained> trained =
      training.at_worker != nullptr ? std::move(training.at_worker->output)
      : training.begun != nullptr   ? world_.trainings->Take(training.begun)
                                    : JobOf(training)(own);
  CONSILIUM_RETURN_IF_ERROR(trained.status());
  return work_.UpdateOf(engine_.runs().at(training.action.run), training.action,
                        *std::move(trained));
}

void VirtualSite::StopTraining() {
  if (!training_.has_value()) return;
  if (training_->begun != nullptr) world_.trainings->Drop(training_->begun);
  if (training_->at_worker != nullptr) world_.workers->Drop(training_->at_worker->job);
  const bool is_silent = options_.record != nullptr && training_->due == absl::InfiniteFuture();
  if (!is_silent) {
    world_.activity.Add({options_.index, Activity::Kind::kTrain, training_->began, world_.now()});
  }
  training_.reset();
}

void VirtualSite::FinishTraining() {
  Training training = *std::exchange(training_, std::nullopt);
  if (training.at_worker != nullptr) training.began = training.at_worker->began;
  // The least duration stands for a slow machine: the update is held back until then.
  world_.activity.Add({options_.index, Activity::Kind::kTrain, training.began,
                       std::max(world_.now(), training.began + options_.task_duration_min)});
  const site::Train& action = training.action;
  absl::StatusOr<TrainedUpdate> trained = world_.outcomes.Train(
      aggregator_.engine().runs().at(action.run).elements, [&] { return Compute(training); });
  if (absl::IsFailedPrecondition(trained.status())) {
    ++world_.failures_by_site[options_.index];
    ++world_.failures;
    world_.last_failure = trained.status();
    Handle(site::TrainFailed{action.run, action.task, std::string(trained.status().message())});
    return;
  }
  if (!trained.ok()) {
    world_.failure.Update(trained.status());
    return;
  }
  ++tasks_done_;
  trained->header->set_incarnation(incarnation_.value());
  const Digest id = UpdateIdOf(*trained->header);
  if (trained->kept != nullptr) {
    absl::StatusOr<IdleVectors::Held> kept = world_.idle->Keep(std::move(trained->kept));
    if (!kept.ok()) {
      world_.failure.Update(kept.status());
      return;
    }
    kept_[id] = *std::move(kept);
  }
  world_.updates[id] = std::move(trained->update);
  Handle(site::TrainDone{action.run, action.task, id, std::move(trained->header)});
}

void VirtualSite::Evaluate(const site::Evaluate& action) {
  const auto model = models_.find({action.run, action.version});
  if (model == models_.end()) {
    world_.failure.Update(absl::InternalError(
        absl::StrCat(options_.id.value(), " evaluates a version that it does not have")));
    return;
  }
  const uint64_t number = ++evaluations_begun_;
  const SiteTurn end = {options_.index, SiteTurn::Kind::kEvaluated, number};
  Evaluation& evaluation = evaluations_[number];
  evaluation.action = action;
  evaluation.process = incarnation_;
  const site::RunState& run = engine_.runs().at(action.run);
  evaluation.plan = run.plan;
  evaluation.standardisation = run.standardisation;
  evaluation.model = model->second;
  // Who plays back has nothing kept.
  if (action.kept.has_value() && !work_.PlaysBack()) evaluation.kept = kept_.at(*action.kept);
  if (world_.workers != nullptr) {
    evaluation.at_worker = BeginAtWorker<v1::MetricSums>(end, JobOf(evaluation));
    return;
  }
  // It takes no virtual time; what else happens at this moment comes first, so that the evaluations
  // that other sites begin now are computed beside it.
  BeginEvaluation(evaluation);
  Turn(world_.now(), end.kind, end.number);
}

std::function<absl::StatusOr<v1::MetricSums>(TaskWorker&)> VirtualSite::JobOf(
    const Evaluation& evaluation) const {
  SiteWork::EvaluationTask task;
  task.plan = evaluation.plan;
  task.standardisation = evaluation.standardisation;
  task.split = evaluation.action.split;
  return [this, task, model = evaluation.model,
          kept = evaluation.kept](TaskWorker& who) -> absl::StatusOr<v1::MetricSums> {
    CONSILIUM_ASSIGN_OR_RETURN(const SiteWork::EvaluationTask whole,
                               WithVectors(task, *model, kept.get()));
    return who.Evaluate(work_, whole);
  };
}

void VirtualSite::BeginEvaluation(Evaluation& evaluation) {
  if (world_.trainings == nullptr || world_.outcomes.IsRecalling() || work_.PlaysBack()) return;
  evaluation.begun = world_.trainings->BeginEvaluation(world_.now(), JobOf(evaluation));
}

void VirtualSite::FinishEvaluation(uint64_t number) {
  const Evaluation evaluation = std::move(evaluations_.extract(number).mapped());
  if (!IsRunning(evaluation.process)) {
    if (evaluation.begun != nullptr) world_.trainings->Drop(evaluation.begun);
    return;
  }
  absl::StatusOr<v1::MetricSums> sums =
      world_.outcomes.Evaluate([&]() -> absl::StatusOr<v1::MetricSums> {
        if (evaluation.at_worker != nullptr) return std::move(evaluation.at_worker->output);
        if (evaluation.begun != nullptr) return world_.trainings->TakeEvaluation(evaluation.begun);
        LocalWorker own(work_.trainer());
        return JobOf(evaluation)(own);
      });
  if (!sums.ok()) {
    world_.failure.Update(sums.status());
    return;
  }
  const site::Evaluate& action = evaluation.action;
  Handle(site::EvaluationComputed{action.run, action.version, action.split,
                                  std::make_shared<const v1::MetricSums>(*std::move(sums))});
}

}  // namespace consilium
