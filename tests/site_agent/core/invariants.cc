#include "tests/site_agent/core/invariants.h"

#include "absl/strings/str_cat.h"
#include "protocol/wire/limits.h"

namespace consilium::site {
namespace {

using Phase = TaskPhase;

std::string Text(const std::pair<RunId, TaskId>& task) {
  return absl::StrCat(task.first.value(), "/", task.second.value());
}

// The state table, several arrows in one input included.
bool MayFollow(Phase from, Phase to) {
  if (from == to) return from != Phase::kIncluded || to == Phase::kIncluded;
  switch (from) {
    case Phase::kGranted:
      return to == Phase::kTraining || to == Phase::kWithdrawn;
    case Phase::kTraining:
      return to == Phase::kGranted || to == Phase::kTrained || to == Phase::kReady ||
             to == Phase::kSending || to == Phase::kWithdrawn;
    case Phase::kTrained:
      return to == Phase::kReady || to == Phase::kSending || to == Phase::kWithdrawn ||
             to == Phase::kAccepted || to == Phase::kIncluded || to == Phase::kNotIncluded;
    case Phase::kReady:
    case Phase::kSending:
      return to >= Phase::kReady;
    case Phase::kAccepted:
      return to == Phase::kIncluded || to == Phase::kNotIncluded;
    case Phase::kRefused:
    case Phase::kWithdrawn:
      return to == Phase::kAccepted || to == Phase::kIncluded || to == Phase::kNotIncluded;
    case Phase::kIncluded:
    case Phase::kNotIncluded:
      return false;
  }
  return false;
}

}  // namespace

std::string Invariants::Check(const SiteEngine& engine, const Event& event,
                              const std::vector<Action>& actions) {
  broken_.clear();
  See(engine, event);
  for (const Action& action : actions) See(engine, action);
  CheckPhases(engine);
  CheckBounds(engine);
  return broken_;
}

void Invariants::See(const SiteEngine& engine, const Event& event) {
  if (std::get_if<Started>(&event) != nullptr) {
    training_.reset();
    read_.clear();
  }
  if (const auto* evaluated = std::get_if<EvaluationComputed>(&event)) read_.erase(evaluated->run);
  if (const auto* withdrawn = std::get_if<RunWithdrawn>(&event)) read_.erase(withdrawn->run);
  if (const auto* done = std::get_if<TrainDone>(&event)) {
    const Task task = {done->run, done->task};
    if (training_ == task) {
      training_.reset();
      trained_.insert(task);
      sealed_[done->update] = task;
      if (engine.runs().at(done->run).keeps != SiteKeeps::kNothing) kept_[done->update] = task;
    }
  }
  if (const auto* received = std::get_if<ReceiptReceived>(&event);
      received != nullptr && received->receipt != nullptr &&
      received->receipt->kind() == v1::Receipt::INCLUDED) {
    const Task task(received->receipt->run_id(), received->receipt->task_id());
    const Digest update = DigestFromBytes(received->receipt->update_id()).value_or(Digest{});
    const auto kept = kept_.find(update);
    // Its first end, of a run that goes on.
    if (kept != kept_.end() && kept->second == task && sealed_.contains(update) &&
        engine.runs().at(task.first).plan->has_config()) {
      left_[task.first] = update;
    }
  }
  if (const auto* failed = std::get_if<TrainFailed>(&event)) {
    if (training_ == Task(failed->run, failed->task)) training_.reset();
  }
  if (const auto* fetched = std::get_if<ModelFetched>(&event)) {
    here_.insert({fetched->run, fetched->version});
  }
  if (const auto* model = std::get_if<ModelAvailable>(&event)) {
    if (model->evaluate != v1::SPLIT_UNSPECIFIED) {
      evaluation_asked_.insert({model->run, model->version});
    }
  }
  if (const auto* ended = std::get_if<RunEnded>(&event)) {
    evaluation_asked_.insert({ended->run, ended->result});
  }
}

void Invariants::See(const SiteEngine& engine, const Action& action) {
  if (const auto* train = std::get_if<Train>(&action)) {
    const Task task = {train->run, train->task};
    if (training_.has_value()) Break(Text(task) + " trains beside " + Text(*training_));
    if (trained_.contains(task)) Break(Text(task) + " is trained again");
    training_ = task;
    const TaskState& state = engine.runs().at(train->run).tasks.at(train->task);
    if (train->base < state.base_min) Break(Text(task) + " trains on too old a base");
    if (!here_.contains({train->run, train->base})) Break(Text(task) + " has no base");
    const auto left = left_.find(train->run);
    if (train->kept != (left == left_.end() ? std::nullopt : std::optional(left->second))) {
      Break(Text(task) + " does not train with what the last included update left");
    }
    if (train->kept.has_value() && !kept_.contains(*train->kept)) {
      Break(Text(task) + " trains with what is not here");
    }
    const auto newer = here_.upper_bound({train->run, train->base});
    if (newer != here_.end() && newer->first == train->run) {
      Break(Text(task) + " trains on a model that is not the newest");
    }
    if (sealed_.size() >= limits::kTasksInFlightMax) {
      size_t waiting = 0;
      for (const auto& [digest, other] : sealed_) {
        waiting += engine.runs().at(other.first).tasks.at(other.second).phase <= Phase::kSending;
      }
      if (waiting >= limits::kTasksInFlightMax) Break(Text(task) + " trains for a full outbox");
    }
  }
  if (const auto* stop = std::get_if<StopTraining>(&action)) {
    if (training_ != Task(stop->run, stop->task)) Break("what does not train is stopped");
    training_.reset();
  }
  if (const auto* send = std::get_if<Send>(&action)) {
    const auto sealed = sealed_.find(send->update);
    if (sealed == sealed_.end() || sealed->second != Task(send->run, send->task)) {
      Break(Text({send->run, send->task}) + " is sent without lying in the outbox");
    }
  }
  if (const auto* drop = std::get_if<DropUpdate>(&action)) {
    const auto sealed = sealed_.find(drop->update);
    if (sealed != sealed_.end()) {
      const TaskState& state =
          engine.runs().at(sealed->second.first).tasks.at(sealed->second.second);
      if (state.phase < Phase::kIncluded) Break(Text(sealed->second) + " is dropped too early");
      sealed_.erase(sealed);
    }
  }
  if (const auto* evaluate = std::get_if<Evaluate>(&action); evaluate != nullptr) {
    if (evaluate->kept.has_value()) {
      if (!kept_.contains(*evaluate->kept)) Break("an evaluation reads what is not here");
      read_[evaluate->run] = *evaluate->kept;
    }
  }
  if (const auto* drop = std::get_if<DropKept>(&action)) {
    for (const auto& [run, update] : read_) {
      if (update == drop->update) Break("what an evaluation reads is dropped");
    }
    if (kept_.erase(drop->update) == 0 && sealed_.contains(drop->update)) {
      Break("what is not kept is dropped");
    }
  }
  if (const auto* drop = std::get_if<DropModel>(&action)) {
    if (here_.erase({drop->run, drop->version}) == 0) Break("a model is dropped that is not here");
    if (training_.has_value() && training_->first == drop->run &&
        engine.runs().at(drop->run).tasks.at(training_->second).base == drop->version) {
      Break("the base of a training is dropped");
    }
  }
  if (const auto* fetch = std::get_if<Fetch>(&action)) {
    if (here_.contains({fetch->run, fetch->version})) Break("a model that is here is fetched");
    if (engine.runs().at(fetch->run).standardisation == nullptr) {
      Break("a model is fetched of a run that has not started");
    }
    if (engine.runs().at(fetch->run).newest != fetch->version &&
        !evaluation_asked_.contains({fetch->run, fetch->version})) {
      Break("a superseded model is fetched");
    }
  }
  if (const auto* evaluate = std::get_if<Evaluate>(&action)) {
    if (!here_.contains({evaluate->run, evaluate->version})) Break("an absent model is evaluated");
    if (evaluate->split == v1::TEST) {
      const auto first = tested_.emplace(evaluate->run, evaluate->version).first;
      if (first->second != evaluate->version) Break("test patients are asked about two versions");
    } else if (evaluate->split != v1::VALIDATION) {
      Break("training patients are asked");
    }
  }
}

void Invariants::CheckPhases(const SiteEngine& engine) {
  size_t training = 0;
  for (const auto& [run_id, run] : engine.runs()) {
    if (!run.missing_data.empty() && (run.decision != nullptr || run.ended())) {
      Break(absl::StrCat(run_id.value(), " waits for data although it is decided"));
    }
    for (const auto& [task_id, task] : run.tasks) {
      const Task id = {run_id, task_id};
      const auto known = phases_.find(id);
      if (known != phases_.end() && !MayFollow(known->second, task.phase)) {
        Break(absl::StrCat(Text(id), " goes from phase ", static_cast<int>(known->second), " to ",
                           static_cast<int>(task.phase)));
      }
      phases_[id] = task.phase;
      training += task.phase == Phase::kTraining;
      if (run.open.contains(task_id) != (task.phase <= Phase::kSending) ||
          run.held.contains(task_id) != (task.phase == Phase::kAccepted)) {
        Break(Text(id) + " is in the wrong list");
      }
      CheckReceipts(id, task);
    }
  }
  if (training != (training_.has_value() ? 1 : 0)) Break("more or less than one task trains");
}

// What a site was told about an update stays; held receipts are those with an end to come.
void Invariants::CheckReceipts(const Task& id, const TaskState& task) {
  const auto text = [](const std::shared_ptr<const v1::Receipt>& receipt) {
    return receipt == nullptr ? std::string() : receipt->SerializeAsString();
  };
  auto& [acceptance, ending] = receipts_[id];
  if (!acceptance.empty() && text(task.acceptance) != acceptance) {
    Break(Text(id) + " has another acceptance now");
  }
  if (!ending.empty() && text(task.ending) != ending) Break(Text(id) + " ends a second time");
  acceptance = text(task.acceptance);
  ending = text(task.ending);
  const bool ended = task.phase == Phase::kIncluded || task.phase == Phase::kNotIncluded;
  if (ended != (task.ending != nullptr)) Break(Text(id) + " ends without a receipt");
  if (!acceptance.empty() && !ended && task.phase != Phase::kAccepted) {
    Break(Text(id) + " forgets that it was accepted");
  }
}

void Invariants::CheckBounds(const SiteEngine& engine) {
  if (engine.runs().size() > limits::kSiteRunsOpenMax) Break("too many runs");
  size_t outbox = 0;
  for (const auto& [id, run] : engine.runs()) {
    if (run.open.size() > limits::kSiteGrantsOpenMax) Break("too many grants");
    for (const TaskId task : run.open) outbox += run.tasks.at(task).phase >= Phase::kTrained;
    for (const auto& [version, model] : run.models) {
      if ((model.where == ModelState::Where::kHere) != here_.contains({id, version})) {
        Break(absl::StrCat("version ", version.value(), " is not where it is thought to be"));
      }
    }
  }
  if (outbox > limits::kTasksInFlightMax) Break("the outbox is too full");
  for (const auto& [digest, task] : sealed_) {
    if (!engine.NeedsUpdate(digest)) Break(Text(task) + " lies in the outbox for nobody");
  }
  for (const auto& [digest, task] : kept_) {
    if (!engine.NeedsKept(digest)) Break(Text(task) + " left something for nobody");
  }
  for (const auto& [run, version] : here_) {
    if (!engine.NeedsModel(run, version)) Break("a model lies here for nobody");
  }
}

}  // namespace consilium::site
