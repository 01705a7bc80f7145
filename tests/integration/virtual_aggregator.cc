// The aggregator's shell of a virtual federation.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "protocol/wire/reasons.h"
#include "tests/integration/virtual_federation.h"

namespace consilium::integration {
namespace {

std::shared_ptr<const v1::Receipt> ReceiptOf(const fed::SendReceipt& action) {
  auto receipt = std::make_shared<v1::Receipt>();
  receipt->set_kind(action.kind);
  receipt->set_run_id(action.run.value());
  receipt->set_site_id(action.site.value());
  receipt->set_task_id(action.task.value());
  receipt->set_update_id(ToBytes(action.update));
  receipt->set_sequence(action.sequence.value());
  receipt->set_version(action.version.value());
  receipt->set_coefficient(action.coefficient);
  return receipt;
}

}  // namespace

void VirtualFederation::AggregatorTakes(const fed::Event& event) {
  Record(event);
  aggregator_.Take(now_, event);
  if (!InStorm(0.4)) AggregatorCommits();
}

// Writes the script: what an input will be the first of.
void VirtualFederation::Record(const fed::Event& event) {
  const fed::RunState* const run = AggregatorRun();
  if (run == nullptr) return;
  if (const auto* staged = std::get_if<fed::UpdateStaged>(&event)) {
    const auto participant = run->participants.find(staged->site);
    if (participant == run->participants.end()) return;
    const auto task = participant->second.tasks.find(staged->task);
    if (task == participant->second.tasks.end()) return;
    if (task->second.phase == fed::TaskPhase::kGranted) {
      arrivals_.push_back({staged->site, staged->task, staged->base, 0});
    }
  } else if (const auto* done = std::get_if<fed::ComputeDone>(&event)) {
    if (run->pending.has_value() && run->pending->program == done->program) {
      arrivals_.push_back({SiteId(), TaskId(), Version(), done->program});
    }
  }
}

void VirtualFederation::AggregatorCommits() {
  const std::vector<fed::Action> actions = aggregator_.Commit();
  for (const fed::Event& event : aggregator_.NewlyCommitted()) {
    // Program n makes version n − 1.
    if (const auto* done = std::get_if<fed::ComputeDone>(&event)) {
      vectors_.SwitchState(Version(done->program - 1));
    }
  }
  for (const fed::Action& action : actions) AggregatorDoes(action);
}

void VirtualFederation::AggregatorCrashes() {
  ++counts_.aggregator_crashes;
  const size_t before = aggregator_.engine().sequence().value();
  if (aggregator_.Crash() == AggregatorEngine::Replay::kDiffers) {
    Complain("the aggregator's journal folds to another state");
  }
  counts_.inputs_lost += before - aggregator_.committed();
  programs_.clear();
  timers_.clear();
  attaching_.clear();
  for (Stream& stream : streams_) {
    if (stream.aggregator_end == Stream::End::kGone) continue;
    stream.aggregator_end = Stream::End::kGone;
    stream.up.clear();
    stream.down.emplace_back(Stream::Closed{});
  }
  for (Call& call : calls_) {
    if (call.state != Call::State::kServed) continue;
    call.state = Call::State::kAnswered;
    call.answer = site::SendFailed{run_id_, TaskId(call.header->task_id()),
                                   DetailOf(absl::UnavailableError("reset")), random_.NextUnit()};
  }
  AggregatorTakes(fed::Started{});
}

// Over the site's live stream; dropped where there is none.
void VirtualFederation::Tell(const SiteId& site, const site::Event& event) {
  for (Stream& stream : streams_) {
    if (stream.site == site && stream.welcomed && stream.aggregator_end == Stream::End::kOpen) {
      stream.down.emplace_back(event);
    }
  }
}

void VirtualFederation::AnswerAttach(const SiteId& site, v1::Reason refusal) {
  auto& waiting = attaching_[site];
  if (waiting.empty()) return Complain("an attach is answered that nobody waits for");
  Stream& stream = *waiting.front();
  waiting.pop_front();
  if (refusal != v1::REASON_UNSPECIFIED) {
    stream.aggregator_end = Stream::End::kGone;
    stream.down.emplace_back(Stream::Refused{refusal});
    return;
  }
  stream.welcomed = true;
  if (stream.aggregator_end == Stream::End::kGone) {
    // It broke before it was welcome.
    AggregatorTakes(fed::SiteLost{site, stream.incarnation});
  } else {
    stream.down.emplace_back(Stream::Welcomed{});
  }
}

void VirtualFederation::AnswerCall(const fed::UpdateStaged& about, const site::Event& answer) {
  for (Call& call : calls_) {
    if (call.state != Call::State::kServed || call.site != about.site ||
        TaskId(call.header->task_id()) != about.task || call.update != about.update) {
      continue;
    }
    call.state = Call::State::kAnswered;
    call.answer = answer;
    if (InStorm(0.1)) {
      call.answer = site::SendFailed{about.run, about.task, DetailOf(absl::UnavailableError("")),
                                     random_.NextUnit()};
    }
    return;
  }
}

void VirtualFederation::AggregatorDoes(const fed::Action& action) {
  if (std::get_if<fed::Compute>(&action) != nullptr ||
      std::get_if<fed::DrawInitialModel>(&action) != nullptr) {
    programs_.push_back(action);
  } else if (const auto* timer = std::get_if<fed::SetTimer>(&action)) {
    timers_[timer->timer] = timer->at;
  } else if (const auto* welcome = std::get_if<fed::Welcome>(&action)) {
    AnswerAttach(welcome->site, v1::REASON_UNSPECIFIED);
  } else if (const auto* refusal = std::get_if<fed::RefuseAttach>(&action)) {
    AnswerAttach(refusal->site, refusal->reason);
  } else if (const auto* run = std::get_if<fed::OfferRun>(&action)) {
    Tell(run->site, site::RunOffered{run->run, run->plan, run->plan_hash});
  } else if (const auto* start = std::get_if<fed::StartRun>(&action)) {
    Tell(start->site, site::RunStarted{start->run, start->layout_hash, start->standardisation});
  } else if (const auto* task = std::get_if<fed::OfferTask>(&action)) {
    Tell(task->site, site::TaskOffered{task->run, task->task, task->base_min, task->local_steps});
  } else if (const auto* model = std::get_if<fed::AnnounceModel>(&action)) {
    Tell(model->site, site::ModelAvailable{model->run, model->version, model->model_id,
                                           model->payload_bytes, model->evaluate});
  } else if (const auto* all = std::get_if<fed::AnnounceToMembers>(&action)) {
    const fed::AnnounceModel& said = all->model;
    for (const SiteId& site : *all->members) {
      Tell(site, site::ModelAvailable{said.run, said.version, said.model_id, said.payload_bytes,
                                      said.evaluate});
    }
  } else if (const auto* end = std::get_if<fed::EndRun>(&action)) {
    Tell(end->site, site::RunEnded{end->run, end->last, end->result, end->why});
  } else if (const auto* receipt = std::get_if<fed::SendReceipt>(&action)) {
    const site::ReceiptReceived answer = {ReceiptOf(*receipt)};
    if (receipt->kind != v1::Receipt::ACCEPTED) return Tell(receipt->site, answer);
    fed::UpdateStaged about;
    about.site = receipt->site;
    about.task = receipt->task;
    about.run = receipt->run;
    about.update = receipt->update;
    AnswerCall(about, answer);
  } else if (const auto* refused = std::get_if<fed::RefuseUpdate>(&action)) {
    fed::UpdateStaged about;
    about.site = refused->site;
    about.task = refused->task;
    about.run = refused->run;
    about.update = refused->update;
    if (IsRetryable(refused->reason)) {
      AnswerCall(about, site::SendFailed{refused->run, refused->task,
                                         DetailOf(Refusal(refused->reason, refused->message)),
                                         random_.NextUnit()});
    } else {
      AnswerCall(about, site::UpdateRefused{refused->run, refused->task, refused->reason,
                                            refused->message});
    }
  } else if (const auto* forget = std::get_if<fed::Forget>(&action)) {
    vectors_.Forget(forget->vector);
  } else if (const auto* alarm = std::get_if<fed::Alarm>(&action)) {
    // Nobody lies here; only a stream may be younger than the news that the one before it broke.
    if (alarm->reason != v1::LEASE_IN_USE) {
      Complain(absl::StrCat("the aggregator raises an alarm: ", alarm->message));
    }
  }
}

// The next thing that a site says, or that its stream is gone.
bool VirtualFederation::ServeStream(Stream& stream) {
  if (stream.up.empty() || stream.aggregator_end == Stream::End::kGone) return false;
  const auto said = stream.up.front();
  stream.up.pop_front();
  if (const auto* event = std::get_if<fed::Event>(&said)) {
    if (std::get_if<fed::SiteAttached>(event) != nullptr) {
      for (auto it = streams_.begin(); it != streams_.end(); ++it) {
        if (&*it == &stream) attaching_[stream.site].push_back(it);
      }
    }
    AggregatorTakes(*event);
    return true;
  }
  stream.aggregator_end = Stream::End::kGone;
  if (stream.welcomed) AggregatorTakes(fed::SiteLost{stream.site, stream.incarnation});
  return true;
}

// Some upload arrives whole: its blob is sealed, then the engine hears of it.
bool VirtualFederation::ServeCall() {
  std::vector<Call*> travelling;
  for (Call& call : calls_) {
    if (call.state == Call::State::kTravels &&
        MayArrive(call.site, TaskId(call.header->task_id()))) {
      travelling.push_back(&call);
    }
  }
  if (travelling.empty()) return false;
  Call& call = *travelling[Draw(travelling.size())];
  const v1::UpdateHeader& header = *call.header;
  if (InStorm(0.1)) {
    ++counts_.lost_uploads;
    call.state = Call::State::kAnswered;
    call.answer = site::SendFailed{run_id_, TaskId(header.task_id()),
                                   DetailOf(Refusal(v1::TRUNCATED, "")), random_.NextUnit()};
    return true;
  }
  fed::UpdateStaged staged;
  staged.site = call.site;
  staged.run = RunId(header.run_id());
  staged.task = TaskId(header.task_id());
  staged.incarnation = Incarnation(header.incarnation());
  staged.base = Version(header.base_version());
  staged.base_model_id = DigestFromBytes(header.base_model_id()).value_or(Digest{});
  staged.layout_hash = DigestFromBytes(header.layout_hash()).value_or(Digest{});
  staged.update = call.update;
  staged.examples = header.examples();
  staged.steps = header.steps();
  staged.norm = 1;
  vectors_.Put(VectorName::Update(call.update), call.update);
  if (InStorm(0.15)) {
    Call again = call;  // It arrives twice; nobody waits for the second answer.
    again.process = 0;
    calls_.push_back(std::move(again));
  }
  call.state = Call::State::kServed;
  AggregatorTakes(staged);
  return true;
}

bool VirtualFederation::FinishProgram() {
  std::vector<size_t> ready;
  const auto number = [](const fed::Action& action) {
    const auto* compute = std::get_if<fed::Compute>(&action);
    return compute != nullptr ? compute->program : std::get<fed::DrawInitialModel>(action).program;
  };
  for (size_t i = 0; i < programs_.size(); ++i) {
    if (MayEnd(number(programs_[i]))) ready.push_back(i);
  }
  if (ready.empty()) return false;
  const size_t which = ready[Draw(ready.size())];
  const fed::Action program = programs_[which];
  programs_.erase(programs_.begin() + static_cast<std::ptrdiff_t>(which));
  fed::ComputeDone done;
  done.run = run_id_;
  done.program = number(program);
  if (const auto* compute = std::get_if<fed::Compute>(&program)) {
    std::string missing;
    const ProgramResult result = vectors_.Run(compute->code, missing);
    if (!missing.empty()) Complain(missing);
    done.scalars = result.scalars;
    done.payload_root = result.payload_root;
  } else {
    done.payload_root = Sha256Of(absl::string_view("initial"));
    vectors_.Put(VectorName::Model(Version(0)), done.payload_root);
  }
  if (InStorm(0.1)) {
    // The process dies with the result written and not in the journal: it runs again.
    AggregatorCrashes();
    return true;
  }
  AggregatorTakes(done);
  if (InStorm(0.1)) AggregatorTakes(done);
  return true;
}

bool VirtualFederation::FireAggregatorTimer() {
  for (const auto& [timer, at] : timers_) {
    if (at > now_) continue;
    const fed::Timer fired = timer;
    timers_.erase(fired);
    AggregatorTakes(fed::TimerFired{fired});
    return true;
  }
  return false;
}

}  // namespace consilium::integration
