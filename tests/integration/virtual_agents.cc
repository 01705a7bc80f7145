// The agents' shells of a virtual federation.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "protocol/wire/identity.h"
#include "protocol/wire/reasons.h"
#include "tests/integration/virtual_federation.h"

namespace consilium::integration {
namespace {

Digest LeaseHash(const SiteId& site, uint64_t number) {
  return Sha256Of(absl::string_view(absl::StrCat(site.value(), " lease ", number)));
}

}  // namespace

VirtualFederation::Agent::Agent(const SiteId& site_id, const site::SiteOptions& options)
    : id(site_id), journal([site_id, options] { return site::SiteEngine(site_id, options); }) {}

void VirtualFederation::AgentTakes(Agent& agent, const site::Event& event) {
  agent.journal.Take(now_, event);
  if (!InStorm(0.4)) AgentCommits(agent);
}

void VirtualFederation::AgentCommits(Agent& agent) {
  for (const site::Action& action : agent.journal.Commit()) AgentDoes(agent, action);
}

void VirtualFederation::AgentCrashes(Agent& agent) {
  ++counts_.site_crashes;
  const size_t before = agent.journal.engine().sequence().value();
  BreakStream(agent);
  agent.link = Agent::Link::kNone;
  if (agent.journal.Crash() == AgentEngine::Replay::kDiffers) {
    Complain("an agent's journal folds to another state");
  }
  counts_.inputs_lost += before - agent.journal.committed();
  agent.work.clear();
  agent.timers.clear();
  AgentTakes(agent, site::Started{Incarnation(++agent.incarnation)});
}

void VirtualFederation::AgentDoes(Agent& agent, const site::Action& action) {
  if (const auto* timer = std::get_if<site::SetTimer>(&action)) {
    agent.timers[timer->timer] = timer->at;
  } else if (const auto* stop = std::get_if<site::StopTraining>(&action)) {
    std::erase_if(agent.work, [stop](const site::Action& one) {
      const auto* train = std::get_if<site::Train>(&one);
      return train != nullptr && train->run == stop->run && train->task == stop->task;
    });
  } else if (const auto* send = std::get_if<site::Send>(&action)) {
    if (!agent.outbox.contains(send->update)) Complain("what is sent is not in the outbox");
    calls_.push_back({agent.id, agent.incarnation, send->header, send->update, {}, {}});
  } else if (const auto* decision = std::get_if<site::ReportDecision>(&action)) {
    fed::RunDecided decided;
    decided.site = agent.id;
    decided.run = run_id_;
    decided.plan_hash = DigestFromBytes(decision->decision->plan_hash()).value_or(Digest{});
    decided.answer = decision->decision->approved() ? fed::RunDecided::Answer::kApproved
                                                    : fed::RunDecided::Answer::kRefused;
    decided.reason = decision->decision->reason();
    decided.train_examples = decision->decision->train_examples();
    SayUp(agent, decided);
  } else if (const auto* statistics = std::get_if<site::ReportStatistics>(&action)) {
    SayUp(agent, fed::StatisticsReported{agent.id, statistics->report});
  } else if (const auto* evaluation = std::get_if<site::ReportEvaluation>(&action)) {
    SayUp(agent,
          fed::EvaluationReported{agent.id, run_id_, Version(evaluation->report->version()),
                                  evaluation->report->split(),
                                  std::make_shared<v1::MetricSums>(evaluation->report->metrics())});
  } else if (const auto* drop = std::get_if<site::DropUpdate>(&action)) {
    agent.outbox.erase(drop->update);
  } else if (const auto* alarm = std::get_if<site::Alarm>(&action)) {
    Complain(absl::StrCat(agent.id.value(), " raises an alarm: ", alarm->message));
  } else if (std::get_if<site::DropModel>(&action) == nullptr &&
             std::get_if<site::DropKept>(&action) == nullptr) {
    agent.work.push_back(action);
  }
}

void VirtualFederation::Attach(Agent& agent) {
  if (agent.link != Agent::Link::kNone) return;
  const site::SiteEngine& engine = agent.journal.engine();
  fed::SiteAttached attach;
  attach.site = agent.id;
  attach.incarnation = Incarnation(agent.incarnation);
  attach.lease_presented_hash = LeaseHash(agent.id, agent.lease);
  attach.lease_next_hash = LeaseHash(agent.id, ++agent.leases_made);
  for (const v1::HeldReceipt& held : engine.HeldReceipts()) {
    attach.held_receipts.push_back({RunId(held.run_id()), TaskId(held.task_id()),
                                    DigestFromBytes(held.update_id()).value_or(Digest{})});
  }
  for (const v1::RunProgress& progress : engine.Progress()) {
    attach.runs.push_back({RunId(progress.run_id()), TaskId(progress.newest_task_id())});
  }
  Stream stream;
  stream.site = agent.id;
  stream.incarnation = attach.incarnation;
  stream.up.emplace_back(fed::Event(attach));
  streams_.push_back(std::move(stream));
  agent.stream = std::prev(streams_.end());
  agent.link = Agent::Link::kOpening;
}

// From the site's end. What was on its way is lost; the aggregator will notice.
void VirtualFederation::BreakStream(Agent& agent) {
  if (agent.link == Agent::Link::kNone) return;
  ++counts_.broken_streams;
  Stream& stream = *agent.stream;
  stream.site_end = Stream::End::kGone;
  stream.down.clear();
  const bool unheard =
      !stream.up.empty() && std::get_if<fed::Event>(&stream.up.front()) != nullptr &&
      std::get_if<fed::SiteAttached>(std::get_if<fed::Event>(&stream.up.front())) != nullptr;
  stream.up.clear();
  if (unheard) {
    stream.aggregator_end = Stream::End::kGone;
  } else {
    stream.up.emplace_back(Stream::Closed{});
  }
  const bool was_up = agent.link == Agent::Link::kUp;
  agent.link = Agent::Link::kNone;
  if (was_up) AgentTakes(agent, site::LinkDown{});
}

void VirtualFederation::SayUp(Agent& agent, const fed::Event& event) {
  if (agent.link != Agent::Link::kUp) return;
  agent.stream->up.emplace_back(event);
  if (InStorm(0.1)) agent.stream->up.emplace_back(event);  // Said twice.
}

// The next thing that its stream brings.
bool VirtualFederation::Hear(Agent& agent) {
  if (agent.link == Agent::Link::kNone) return false;
  auto& down = agent.stream->down;
  const auto next = std::find_if(down.begin(), down.end(), [this, &agent](const auto& said) {
    const auto* event = std::get_if<site::Event>(&said);
    return event == nullptr || MayHear(agent, *event);
  });
  if (next == down.end()) return false;
  const auto said = *next;
  down.erase(next);
  if (const auto* event = std::get_if<site::Event>(&said)) {
    AgentTakes(agent, *event);
  } else if (std::get_if<Stream::Welcomed>(&said) != nullptr) {
    agent.lease = agent.leases_made;
    agent.link = Agent::Link::kUp;
    agent.stream->up.emplace_back(
        fed::Event(fed::LeaseConfirmed{agent.id, LeaseHash(agent.id, agent.lease)}));
    AgentTakes(agent, site::LinkUp{});
  } else {
    const auto* refused = std::get_if<Stream::Refused>(&said);
    if (refused != nullptr && refused->reason != v1::LEASE_IN_USE) {
      Complain(absl::StrCat("an honest attach is refused: ", v1::Reason_Name(refused->reason)));
    }
    agent.stream->site_end = Stream::End::kGone;
    agent.stream->down.clear();
    const bool was_up = agent.link == Agent::Link::kUp;
    agent.link = Agent::Link::kNone;
    if (was_up) AgentTakes(agent, site::LinkDown{});
  }
  return true;
}

bool VirtualFederation::HearAnswer() {
  for (auto call = calls_.begin(); call != calls_.end(); ++call) {
    if (call->state != Call::State::kAnswered || InStorm(0.5)) continue;
    const Call answered = std::move(*call);
    calls_.erase(call);
    Agent& agent = agents_.at(answered.site);
    if (answered.process == agent.incarnation) AgentTakes(agent, answered.answer);
    return true;
  }
  return false;
}

// Answers something that the engine asked its process for.
bool VirtualFederation::Work(Agent& agent) {
  if (agent.work.empty()) return false;
  const size_t which = Draw(agent.work.size());
  const site::Action action = agent.work[which];
  agent.work.erase(agent.work.begin() + static_cast<std::ptrdiff_t>(which));
  AgentTakes(agent, AnswerTo(agent, action));
  return true;
}

site::Event VirtualFederation::AnswerTo(Agent& agent, const site::Action& action) {
  if (const auto* check = std::get_if<site::CheckPlan>(&action)) {
    site::PlanChecked checked = {check->run, site::PlanChecked::Answer::kApproved,
                                 v1::REASON_UNSPECIFIED, "", agent.examples};
    if (agent.refuses) {
      checked.answer = site::PlanChecked::Answer::kRefused;
      checked.reason = v1::NOT_APPROVED;
    }
    return checked;
  }
  if (const auto* statistics = std::get_if<site::ComputeStatistics>(&action)) {
    auto report = std::make_shared<v1::StatisticsReport>();
    report->set_run_id(statistics->run.value());
    for (int feature = 0; feature < options_.plan->contract().columns_size(); ++feature) {
      report->add_counts(agent.examples);
      report->add_sums(0.5 * static_cast<double>(agent.examples));
      report->add_sums_of_squares(0.3 * static_cast<double>(agent.examples));
    }
    return site::StatisticsComputed{statistics->run, std::move(report)};
  }
  if (const auto* fetch = std::get_if<site::Fetch>(&action)) {
    if (!vectors_.Has(VectorName::Model(fetch->version))) {
      Complain("a model was announced that is not there");
    }
    if (!InStorm(0.2)) return site::ModelFetched{fetch->run, fetch->version};
    return site::FetchFailed{fetch->run, fetch->version, DetailOf(Refusal(v1::TRUNCATED, "")),
                             random_.NextUnit()};
  }
  if (const auto* train = std::get_if<site::Train>(&action)) {
    auto header = std::make_shared<v1::UpdateHeader>();
    header->set_run_id(train->run.value());
    header->set_site_id(agent.id.value());
    header->set_task_id(train->task.value());
    header->set_base_version(train->base.value());
    header->set_base_model_id(ToBytes(train->base_model_id));
    header->set_layout_hash(ToBytes(AgentRun(agent)->layout_hash));
    header->set_steps(train->local_steps);
    header->set_examples(agent.examples);
    const site::TrainDone done = {train->run, train->task, UpdateIdOf(*header), header};
    agent.outbox.insert(done.update);
    return done;
  }
  const auto& evaluate = std::get<site::Evaluate>(action);
  auto metrics = std::make_shared<v1::MetricSums>();
  const Digest model = AgentRun(agent)->models.at(evaluate.version).model_id;
  metrics->set_examples(10);
  metrics->set_log_loss_sum(1 + model[0] + 0.125 * static_cast<double>(agent.examples));
  return site::EvaluationComputed{evaluate.run, evaluate.version, evaluate.split, metrics};
}

bool VirtualFederation::FireAgentTimer(Agent& agent) {
  for (const auto& [timer, at] : agent.timers) {
    if (at > now_) continue;
    const site::Timer fired = timer;
    agent.timers.erase(fired);
    AgentTakes(agent, site::TimerFired{fired});
    return true;
  }
  return false;
}

void VirtualFederation::ForgetStreams() {
  for (auto stream = streams_.begin(); stream != streams_.end();) {
    const bool waits = std::any_of(attaching_[stream->site].begin(), attaching_[stream->site].end(),
                                   [stream](const auto& one) { return one == stream; });
    const bool over = stream->site_end == Stream::End::kGone &&
                      stream->aggregator_end == Stream::End::kGone && !waits;
    stream = over ? streams_.erase(stream) : std::next(stream);
  }
}

}  // namespace consilium::integration
