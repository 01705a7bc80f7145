#include "site_agent/runtime/agent.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <variant>

#include "absl/strings/str_cat.h"
#include "models/spec/standardisation.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/reasons.h"
#include "site_agent/runtime/agent_status.h"
#include "site_agent/runtime/link_errors.h"
#include "site_agent/runtime/progress_log.h"

namespace consilium::site {
namespace {

constexpr char kSoftwareVersion[] = "0.1.0";

// Null where the engine has forgotten the run in the meantime.
const RunState* FindRun(const SiteEngine& engine, const RunId& run) {
  const auto found = engine.runs().find(run);
  return found == engine.runs().end() ? nullptr : &found->second;
}

// Null as well where its plan is not needed any more.
const RunState* FindGoingRun(const SiteEngine& engine, const RunId& id) {
  const RunState* run = FindRun(engine, id);
  return run == nullptr || !run->plan->has_config() ? nullptr : run;
}

bool HoldsUpdate(const TaskState& task) { return task.blob == TaskState::Blob::kInOutbox; }

}  // namespace

absl::StatusOr<std::unique_ptr<Agent>> Agent::Start(const AgentParts& parts,
                                                    const AgentOptions& options) {
  SiteStore* const store = parts.store;
  CONSILIUM_ASSIGN_OR_RETURN(SiteIdentity identity, store->Identity());
  std::unique_ptr<Agent> agent(new Agent(parts, std::move(identity)));
  const SiteIdentity& self = agent->identity_;
  CONSILIUM_ASSIGN_OR_RETURN(SiteEngine engine,
                             EngineLoop::Recover(store, self.site, options.site));
  CONSILIUM_RETURN_IF_ERROR(agent->RemoveOrphanBlobs(engine));
  CONSILIUM_ASSIGN_OR_RETURN(agent->incarnation_, store->NextIncarnation());
  CONSILIUM_ASSIGN_OR_RETURN(const uint64_t minimum_count, store->MinimumCount());
  CONSILIUM_ASSIGN_OR_RETURN(agent->gate_, EgressGate::Open(store, self, options.egress));

  Agent* const a = agent.get();
  agent->work_ = std::make_unique<SiteWork>(
      store, parts.trainer,
      SiteWorkOptions{
          .site = self.site, .incarnation = agent->incarnation_, .minimum_count = minimum_count},
      [a](Event event) { a->loop_->Post(std::move(event)); });
  agent->link_ = std::make_unique<Link>(
      store, agent->gate_.get(), self,
      LinkHooks{.post = [a](Event event) { return a->loop_->Post(std::move(event)); },
                .wait_until_taken = [a] { a->loop_->Ask([](const SiteEngine&) {}); },
                .fill_hello = [a](v1::Hello& hello) { return a->FillHello(hello); },
                .on_refused_for_good = [a](const absl::Status& why) { a->EndRefused(why); }});
  agent->renewal_ = std::make_unique<CertificateRenewal>(store, agent->gate_.get());
  agent->loop_ = std::make_unique<EngineLoop>(std::move(engine), store, &agent->clock_, a);

  agent->work_->Start();
  agent->loop_->Start(agent->incarnation_);
  agent->link_->Start();
  agent->renewal_->Start();
  return agent;
}

Agent::~Agent() { Stop(); }

absl::Status Agent::RemoveOrphanBlobs(const SiteEngine& engine) {
  std::set<Digest> named;
  for (const auto& [id, run] : engine.runs()) {
    for (const auto& [version, model] : run.models) {
      named.insert(model.model_id);
      models_[{id, version}] = model.model_id;
    }
    for (const auto& [task_id, task] : run.tasks) {
      if (!HoldsUpdate(task)) continue;
      named.insert(task.update);
      if (run.keeps != SiteKeeps::kNothing) named.insert(KeptBlobOf(task.update));
    }
    for (const auto& [version, update] : run.kept) named.insert(KeptBlobOf(update));
    if (run.evaluated_with.has_value()) named.insert(KeptBlobOf(*run.evaluated_with));
  }
  CONSILIUM_ASSIGN_OR_RETURN(const std::vector<Digest> there, store_->blobs().List());
  for (const Digest& digest : there) {
    if (!named.contains(digest)) CONSILIUM_RETURN_IF_ERROR(store_->blobs().Remove(digest));
  }
  return absl::OkStatus();
}

void Agent::Stop() {
  // The link first, so that nothing new leaves; the loop last, so that every answer is recorded.
  if (link_ != nullptr) link_->Stop();
  if (renewal_ != nullptr) renewal_->Stop();
  if (work_ != nullptr) work_->Stop();
  if (loop_ != nullptr) loop_->Stop();
}

bool Agent::FillHello(v1::Hello& hello) {
  hello.set_incarnation(incarnation_.value());
  hello.set_software_version(kSoftwareVersion);
  return loop_->Ask([&hello](const SiteEngine& engine) {
    for (v1::HeldReceipt& held : engine.HeldReceipts()) {
      *hello.add_held_receipts() = std::move(held);
    }
    for (v1::RunProgress& progress : engine.Progress()) *hello.add_runs() = std::move(progress);
  });
}

void Agent::EndRefused(const absl::Status& why) {
  const v1::ErrorDetail detail = DetailOf(why);
  const std::string advice = AdviceFor(detail.reason(), {identity_.site.value(), store_->folder()});
  v1::ErrorDetail explained = detail;
  explained.set_message(absl::StrCat(why.message(), " (", v1::Reason_Name(detail.reason()), ").",
                                     advice.empty() ? "" : " ", advice));
  if (IsRefusalForGood(detail.reason())) NoteRefusedForGood(detail.reason());
  ending_->End(Refusal(explained));
}

void Agent::NoteRefusedForGood(v1::Reason reason) {
  const absl::Status noted = store_->PutRefusedForGood(reason);
  if (!noted.ok()) spdlog::warn("`status` will not know: {}", std::string(noted.message()));
}

// --- actions ------------------------------------------------------------------------------------

void Agent::Execute(const SiteEngine& engine, const Action& action) {
  std::visit([&](const auto& one) { Do(engine, one); }, action);
}

void Agent::Do(const SiteEngine&, const CheckPlan& action) { work_->Check(action); }

void Agent::Do(const SiteEngine& engine, const ComputeStatistics& action) {
  const RunState* run = FindGoingRun(engine, action.run);
  if (run != nullptr) work_->Compute(action, {run->plan, run->standardisation});
}

void Agent::Do(const SiteEngine& engine, const Fetch& action) {
  const RunState* run = FindRun(engine, action.run);
  if (run == nullptr || run->standardisation == nullptr) {
    loop_->Post(FetchFailed{action.run, action.version, {}, 1});
    return;
  }
  models_[{action.run, action.version}] = action.model_id;
  link_->Download({.run = action.run,
                   .version = action.version,
                   .model_id = action.model_id,
                   .payload_bytes = action.payload_bytes,
                   .layout_hash = run->layout_hash,
                   .standardisation_hash = StandardisationHash(*run->standardisation),
                   .plan = run->plan});
}

void Agent::Do(const SiteEngine& engine, const Train& action) {
  const RunState* run = FindGoingRun(engine, action.run);
  if (run != nullptr) work_->Run(action, {run->plan, run->standardisation});
}

void Agent::Do(const SiteEngine&, const StopTraining& action) { work_->Cancel(action); }

void Agent::Do(const SiteEngine& engine, const Evaluate& action) {
  const RunState* run = FindGoingRun(engine, action.run);
  const auto model = models_.find({action.run, action.version});
  if (run == nullptr || model == models_.end()) return;
  work_->Run(action, model->second, {run->plan, run->standardisation});
}

void Agent::Do(const SiteEngine&, const Send& action) { link_->Upload(action); }

void Agent::Do(const SiteEngine&, const ReportDecision& action) {
  v1::SiteEvent event;
  *event.mutable_run_decision() = *action.decision;
  link_->Report(std::move(event));
}

void Agent::Do(const SiteEngine&, const ReportStatistics& action) {
  v1::SiteEvent event;
  *event.mutable_statistics() = *action.report;
  link_->Report(std::move(event));
}

void Agent::Do(const SiteEngine&, const ReportEvaluation& action) {
  v1::SiteEvent event;
  *event.mutable_evaluation() = *action.report;
  link_->Report(std::move(event));
}

void Agent::Do(const SiteEngine&, const DropUpdate& action) {
  const absl::Status removed = store_->blobs().Remove(action.update);
  if (!removed.ok()) spdlog::warn("an update stays: {}", std::string(removed.message()));
}

void Agent::Do(const SiteEngine&, const DropModel& action) {
  const auto model = models_.find({action.run, action.version});
  if (model == models_.end()) return;
  const absl::Status removed = store_->blobs().Remove(model->second);
  if (!removed.ok()) spdlog::warn("a model stays: {}", std::string(removed.message()));
  models_.erase(model);
}

void Agent::Do(const SiteEngine&, const DropKept& action) {
  const absl::Status removed = store_->blobs().Remove(KeptBlobOf(action.update));
  if (!removed.ok()) spdlog::warn("what was kept stays: {}", std::string(removed.message()));
}

// The loop keeps its own timers.
void Agent::Do(const SiteEngine&, const SetTimer&) {}

void Agent::Do(const SiteEngine&, const Alarm& action) {
  spdlog::error("ALARM: run {}: {} ({})", action.run.value(), action.message,
                v1::Reason_Name(action.reason));
}

void Agent::OnCommitted(const Event& event) {
  const std::string line = DescribeEvent(event);
  if (!line.empty()) spdlog::info("{}", line);
  if (std::holds_alternative<LinkUp>(event)) NoteRefusedForGood(v1::REASON_UNSPECIFIED);
}

void Agent::OnFailed(const absl::Status& why) {
  ending_->End(absl::Status(
      why.code(), absl::StrCat("the site's journal can not be written: ", why.message())));
}

// --- a person's commands ------------------------------------------------------------------------

absl::Status Agent::ApproveRun(const RunId& run, const Digest& plan_hash) {
  CONSILIUM_RETURN_IF_ERROR(store_->ApproveRun(run, plan_hash));
  LookAgainAtWaitingRuns();
  return absl::OkStatus();
}

absl::Status Agent::SetAllRuns(AllRuns all_runs) {
  CONSILIUM_RETURN_IF_ERROR(store_->SetAllRuns(all_runs));
  LookAgainAtWaitingRuns();
  return absl::OkStatus();
}

absl::Status Agent::WithdrawRun(const RunId& run) {
  // The engine first: it is what sends. A question is answered after what came before is durable.
  if (!loop_->Post(RunWithdrawn{run, kWithdrawnByPerson}) ||
      !loop_->Ask([](const SiteEngine&) {})) {
    return absl::UnavailableError("the agent is stopping");
  }
  return store_->WithdrawRun(run);
}

void Agent::LookAgainAtWaitingRuns() {
  loop_->Ask([this](const SiteEngine& engine) {
    for (const auto& [id, run] : engine.runs()) {
      if (run.decision == nullptr && !run.ended()) {
        work_->Check(CheckPlan{id, run.plan, run.plan_hash});
      }
    }
  });
}

absl::Status Agent::CheckNoLiveRunUses(const std::vector<Digest>& contracts) {
  std::string user;
  loop_->Ask([&](const SiteEngine& engine) {
    for (const auto& [id, run] : engine.runs()) {
      const bool takes_part = run.decision != nullptr && run.decision->approved() && !run.ended();
      const Digest contract = ContractHash(run.plan->contract());
      if (takes_part && std::count(contracts.begin(), contracts.end(), contract) > 0) {
        user = id.value();
      }
    }
  });
  if (user.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "the run ", user,
      " trains on this data set, which stays as it is until the run has ended "
      "(consilium-agent status shows it). Import again then; or under a contract of another name"));
}

nlohmann::json Agent::Status() {
  nlohmann::json status = DescribeSite(*store_, identity_);
  const LinkState link = link_->state();
  status["running"] = true;
  status["attached"] = link.attached;
  status["link_error"] = link.last_error;
  status["incarnation"] = incarnation_.value();
  loop_->Ask([&status](const SiteEngine& engine) { status["runs"] = DescribeRuns(engine); });
  nlohmann::json& releases = status["releases_since_start"] = nlohmann::json::object();
  for (const auto& [kind, totals] : gate_->totals()) {
    releases[std::string(NameOf(kind))] = {{"count", totals.releases}, {"bytes", totals.bytes}};
  }
  return status;
}

}  // namespace consilium::site
