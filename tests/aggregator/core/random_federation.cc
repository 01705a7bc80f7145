#include "tests/aggregator/core/random_federation.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregator/core/rounds.h"
#include "aggregator/core/validator.h"
#include "protocol/wire/hash.h"

namespace consilium::federation {
namespace {

constexpr Incarnation kCopysIncarnation(1'000'000);

Digest LeaseHash(const SiteId& site, uint64_t number) {
  return Sha256Of(absl::StrCat(site.value(), " lease ", number));
}

bool IsRetryableRefusal(v1::Reason reason) {
  return reason == v1::NOT_ATTACHED || reason == v1::INCARNATION_FENCED;
}

// The one-to-one statement of a program, so that running it again gives the same root.
Digest RootOf(const Compute& compute) {
  FieldHasher hash("test.program");
  for (const VectorStep& step : compute.code.steps) {
    hash.Add(static_cast<uint64_t>(step.op)).Add(step.x.number).Add(step.x.update).Add(step.a);
    hash.Add(uint64_t{step.over.size()}).Add(uint64_t{step.cut});
    for (const VectorTerm& term : step.over) hash.Add(term.vector.update).Add(term.scale);
  }
  return hash.Finish();
}

}  // namespace

RandomFederation::RandomFederation(uint64_t seed, std::shared_ptr<const v1::RunPlan> plan)
    : random_(seed), plan_(std::move(plan)) {
  const uint64_t sites = 1 + Draw(5);
  for (uint64_t i = 0; i < sites; ++i) {
    FakeSite site;
    site.id = SiteId(std::string(1, static_cast<char>('a' + i)));
    site.examples = 1 + Draw(300);
    site.refuses = Chance(0.05);
    sites_[site.id] = std::move(site);
  }
}

std::string RandomFederation::Run() {
  Step(Started{});
  for (auto& [id, site] : sites_) Step(SiteAdded{id, LeaseHash(id, 0)});
  for (auto& [id, site] : sites_) {
    if (Chance(0.8)) TryAttach(site);
  }
  Step(RunSubmitted{run_id_, plan_});
  Commit();
  const uint64_t steps = 20 + Draw(400);
  for (uint64_t i = 0; i < steps && complaint_.empty(); ++i) ChaoticStep();
  fair_ = true;
  Commit();
  Crash();
  MaybeLoseOneForGood();
  for (int i = 0; i < 2000 && complaint_.empty(); ++i) {
    if (run().phase == RunPhase::kEnded && barrier_.empty()) break;
    FairRound();
  }
  // One more attach, so that each site hears what it has not.
  for (auto& [id, site] : sites_) {
    if (site.gone) continue;
    LoseStream(site);
    TryAttach(site);
    while (!site.uploads.empty()) UploadOne(site);
  }
  Commit();
  if (complaint_.empty()) CheckEnd();
  return complaint_;
}

void RandomFederation::Complain(const std::string& what) {
  if (complaint_.empty()) complaint_ = absl::StrCat("input ", journal_.size(), ": ", what);
}

// ---- The aggregator's shell

void RandomFederation::Step(const Event& event) {
  // With a part that the journal does not keep.
  now_ += absl::Microseconds(Draw(2000)) + absl::Nanoseconds(1) / 4;
  std::vector<Action> actions = engine_.Step(now_, event);
  journal_.push_back({engine_.sequence(), now_, event});
  if (engine_.sequence().value() != journal_.size()) Complain("the sequence has a gap");
  if (Chance(0.03)) digests_[journal_.size()] = engine_.StateDigest();
  barrier_.Hold(engine_.sequence(), std::move(actions));
  if (fair_ || Chance(0.7)) Commit();
  CheckOpenGrants();
}

void RandomFederation::Commit() {
  committed_ = journal_.size();
  for (const Action& action : barrier_.Release(Sequence(committed_))) Execute(action);
}

// What was not committed is gone, and with it what was to follow; a fresh engine folds the rest.
void RandomFederation::Crash() {
  journal_.resize(committed_);
  digests_.erase(digests_.upper_bound(committed_), digests_.end());
  barrier_ = {};
  programs_.clear();
  timers_.clear();
  for (auto& [id, site] : sites_) {
    site.attached = false;
    site.stream_out.clear();
  }
  engine_ = FederationEngine();
  CheckReplay();
  for (const JournalledEvent& input : journal_) engine_.Step(input.now, input.event);
  const auto found = engine_.runs().find(run_id_);
  if (found != engine_.runs().end() && found->second.pending.has_value() &&
      measures_.contains(found->second.pending->program - 1)) {
    ++crashed_between_;
  }
  Step(Started{});
}

FakeSite* RandomFederation::Attached(const SiteId& id) {
  FakeSite& site = sites_.at(id);
  return site.attached ? &site : nullptr;
}

void RandomFederation::Execute(const Action& action) {
  if (const auto* a = std::get_if<Compute>(&action)) return ExecuteCompute(*a);
  if (const auto* a = std::get_if<SendReceipt>(&action)) return ExecuteReceipt(*a);
  if (const auto* a = std::get_if<RefuseUpdate>(&action)) return ExecuteRefusal(*a);
  if (const auto* a = std::get_if<DrawInitialModel>(&action)) {
    programs_.push_back({a->run, a->program, {}, Sha256Of("initial")});
  } else if (const auto* a = std::get_if<SetTimer>(&action)) {
    timers_[a->timer] = a->at;
  } else if (const auto* a = std::get_if<RefuseAttach>(&action)) {
    FakeSite& site = sites_.at(a->site);
    if (site.incarnation == a->incarnation && !site.removed && a->reason != v1::LEASE_IN_USE) {
      Complain(absl::StrCat("an honest attach is refused: ", a->message));
    }
  } else if (const auto* a = std::get_if<Welcome>(&action)) {
    FakeSite& site = sites_.at(a->site);
    if (a->incarnation == kCopysIncarnation) Complain("a copy is welcome");
    if (a->incarnation != site.incarnation) return;
    site.leases_dead = site.lease;  // The one presented lives; those before it do not.
    if (site.attached && Chance(0.8)) {
      site.lease = site.leases_made;
      site.stream_out.push_back(LeaseConfirmed{site.id, LeaseHash(site.id, site.lease)});
    }
  } else if (const auto* a = std::get_if<Detach>(&action)) {
    sites_.at(a->site).attached = false;
  } else if (const auto* a = std::get_if<OfferRun>(&action)) {
    if (FakeSite* site = Attached(a->site)) OnOffer(*site, *a);
  } else if (const auto* a = std::get_if<OfferTask>(&action)) {
    if (FakeSite* site = Attached(a->site)) {
      site->tasks.try_emplace(a->task).first->second.base_min = a->base_min;
    }
  } else if (const auto* a = std::get_if<AnnounceModel>(&action)) {
    if (FakeSite* site = Attached(a->site)) OnAnnounce(*site, *a);
  } else if (const auto* a = std::get_if<AnnounceToMembers>(&action)) {
    for (const SiteId& id : *a->members) {
      if (FakeSite* site = Attached(id)) OnAnnounce(*site, AnnouncementTo(id, *a));
    }
  } else if (const auto* a = std::get_if<EndRun>(&action)) {
    if (FakeSite* site = Attached(a->site)) site->run_over = true;
  }
}

void RandomFederation::ExecuteReceipt(const SendReceipt& receipt) {
  if (receipt.sequence.value() > committed_) Complain("a receipt leaves before its commit");
  const std::pair<SiteId, TaskId> key = {receipt.site, receipt.task};
  FakeSite& site = sites_.at(receipt.site);
  FakeSite::Task& task = site.tasks[receipt.task];
  if (receipt.kind == v1::Receipt::ACCEPTED) {
    const auto [first, is_first] = acceptances_.try_emplace(key, receipt);
    if (!is_first &&
        (first->second.update != receipt.update || first->second.sequence != receipt.sequence)) {
      Complain("the same update has two acceptance receipts");
    }
    if (Chance(fair_ ? 0 : 0.1)) return;  // Lost on its way.
    task.accepted = true;
    return;
  }
  if (!acceptances_.contains(key) || acceptances_.at(key).update != receipt.update) {
    Complain("a terminal receipt for what was not accepted");
  }
  const auto [end, is_first] = ends_.try_emplace(key, receipt.kind);
  if (end->second != receipt.kind) Complain("an update ends in two ways");
  if (!site.attached) return;
  task.end = receipt.kind == v1::Receipt::INCLUDED ? FakeSite::Task::End::kIncluded
                                                   : FakeSite::Task::End::kNotIncluded;
}

void RandomFederation::ExecuteRefusal(const RefuseUpdate& refusal) {
  if (refusal.message.empty() || refusal.reason == v1::REASON_UNSPECIFIED) {
    Complain("a refusal without a reason");
  }
  const auto task = sites_.at(refusal.site).tasks.find(refusal.task);
  if (task == sites_.at(refusal.site).tasks.end()) return;
  const bool ours =
      task->second.update.has_value() && task->second.update->update == refusal.update;
  if (!ours || IsRetryableRefusal(refusal.reason)) return;
  if (acceptances_.contains({refusal.site, refusal.task}) && !sites_.at(refusal.site).removed) {
    Complain(absl::StrCat("an accepted update is refused: ", refusal.message));
  }
  task->second.end = FakeSite::Task::End::kRefused;
}

void RandomFederation::ExecuteCompute(const Compute& compute) {
  ComputeDone done;
  done.run = compute.run;
  done.program = compute.program;
  const Digest root = RootOf(compute);
  const bool measures = compute.code.result.kind != VectorName::Kind::kModel;
  if (measures) measures_.insert(compute.program);
  if (!measures) done.payload_root = root;
  for (const VectorStep& step : compute.code.steps) {
    for (size_t i = 0; i < ScalarsOf(step); ++i) {
      // Numbers to decide by: any, but the same when the program runs again.
      const double number = measures ? 1 + root[done.scalars.size() % root.size()] / 256.0 : 1;
      done.scalars.push_back(Chance(0.002) ? std::nan("") : number);
    }
  }
  if (measures && Chance(0.002)) done.scalars.clear();  // A journal can say anything.
  programs_.push_back(std::move(done));
}

void RandomFederation::AnswerProgram() {
  if (programs_.empty()) return;
  const size_t which = Draw(programs_.size());
  const ComputeDone done = programs_[which];
  if (fair_ || !Chance(0.1)) {  // Else it is answered again.
    programs_.erase(programs_.begin() + static_cast<std::ptrdiff_t>(which));
  }
  Step(done);
}

void RandomFederation::FireTimers() {
  for (const auto& [timer, at] : std::map<Timer, absl::Time>(timers_)) {
    if (at > now_) continue;
    timers_.erase(timer);
    Step(TimerFired{timer});
  }
}

// ---- The sites

void RandomFederation::TryAttach(FakeSite& site) {
  if (site.attached) return;
  site.attached = true;
  site.incarnation = site.incarnation.next();
  SiteAttached attach;
  attach.site = site.id;
  attach.incarnation = site.incarnation;
  attach.lease_presented_hash = LeaseHash(site.id, site.lease);
  attach.lease_next_hash = LeaseHash(site.id, ++site.leases_made);
  TaskId newest;
  for (const auto& [id, task] : site.tasks) {
    newest = std::max(newest, id);
    if (task.accepted && task.end == FakeSite::Task::End::kNone) {
      attach.held_receipts.push_back({run_id_, id, task.update->update});
    }
  }
  if (!site.tasks.empty() && !site.run_over) attach.runs.push_back({run_id_, newest});
  Step(attach);
}

void RandomFederation::LoseStream(FakeSite& site) {
  if (!site.attached) return;
  site.attached = false;
  site.stream_out.clear();
  Step(SiteLost{site.id, site.incarnation});
}

// A copy of the site's store, as it was a while ago, tries to attach beside it.
void RandomFederation::AttachCopy(FakeSite& site) {
  if (site.leases_dead == 0) return;
  SiteAttached attach;
  attach.site = site.id;
  attach.incarnation = kCopysIncarnation;
  attach.lease_presented_hash = LeaseHash(site.id, Draw(site.leases_dead));
  attach.lease_next_hash = LeaseHash(site.id, 999);
  Step(attach);
}

void RandomFederation::OnOffer(FakeSite& site, const OfferRun& offer) {
  RunDecided decided;
  decided.site = site.id;
  decided.run = offer.run;
  decided.plan_hash = offer.plan_hash;
  decided.answer = site.refuses ? RunDecided::Answer::kRefused : RunDecided::Answer::kApproved;
  decided.reason = site.refuses ? v1::NOT_APPROVED : v1::REASON_UNSPECIFIED;
  decided.train_examples = site.examples;
  site.stream_out.push_back(decided);
  if (site.refuses || plan_->config().data().standardise() == v1::DataConfig::NONE) return;
  auto report = std::make_shared<v1::StatisticsReport>();
  report->set_run_id(offer.run.value());
  for (int feature = 0; feature < plan_->contract().columns_size(); ++feature) {
    report->add_counts(site.examples);
    report->add_sums(0.5 * static_cast<double>(site.examples));
    report->add_sums_of_squares(0.3 * static_cast<double>(site.examples));
  }
  site.stream_out.push_back(StatisticsReported{site.id, std::move(report)});
}

void RandomFederation::OnAnnounce(FakeSite& site, const AnnounceModel& announce) {
  site.models[announce.version] = announce.model_id;
  if (announce.evaluate == v1::SPLIT_UNSPECIFIED) return;
  auto sums = std::make_shared<v1::MetricSums>();
  if (!Chance(0.1)) {  // Else it has too few examples to say.
    sums->set_examples(10);
    sums->set_log_loss_sum(static_cast<double>(Draw(100)) / 10);
  }
  site.stream_out.push_back(
      EvaluationReported{site.id, announce.run, announce.version, announce.evaluate, sums});
}

void RandomFederation::Train(FakeSite& site) {
  if (site.models.empty() || site.run_over) return;
  for (auto& [id, task] : site.tasks) {
    if (task.update.has_value() || task.end != FakeSite::Task::End::kNone) continue;
    const auto newest = std::prev(site.models.end());
    if (newest->first < task.base_min) return;
    UpdateStaged update;
    update.site = site.id;
    update.run = run_id_;
    update.task = id;
    update.base = newest->first;
    update.base_model_id = newest->second;
    update.layout_hash = run().layout_hash;
    update.update = Sha256Of(absl::StrCat("update ", site.id.value(), " ", id.value()));
    update.examples = site.examples;
    update.steps = Chance(0.02) ? 0 : static_cast<uint32_t>(1 + Draw(3));
    update.norm = Chance(0.02) ? 1e9 : 1;
    if (Chance(0.02)) update.values = UpdateStaged::Values::kNotFinite;
    task.update = update;
    site.uploads.push_back(update);
    return;
  }
}

void RandomFederation::SendOne(FakeSite& site) {
  if (!site.attached || site.stream_out.empty()) return;
  const Event event = site.stream_out.front();
  if (fair_ || !Chance(0.1)) site.stream_out.pop_front();  // Else it is said again.
  Step(event);
}

void RandomFederation::UploadOne(FakeSite& site) {
  if (site.uploads.empty()) return;
  const size_t which = Draw(site.uploads.size());
  UpdateStaged update = site.uploads[which];
  const double again = fair_ ? 0 : 0.3;
  if (!Chance(again)) {
    site.uploads.erase(site.uploads.begin() + static_cast<std::ptrdiff_t>(which));
  }
  if (!fair_ && Chance(0.1)) return;  // Lost on its way.
  update.incarnation = site.incarnation;
  Step(update);
}

void RandomFederation::UploadConflict(FakeSite& site) {
  for (const auto& [id, task] : site.tasks) {
    if (!task.accepted || !Chance(0.5)) continue;
    UpdateStaged other = *task.update;
    other.incarnation = site.incarnation;
    other.update = Sha256Of("something else");
    Step(other);
    return;
  }
}

// ---- Schedules

void RandomFederation::ChaoticStep() {
  now_ += absl::Milliseconds(Draw(20));
  auto chosen = std::next(sites_.begin(), static_cast<std::ptrdiff_t>(Draw(sites_.size())));
  FakeSite& site = chosen->second;
  const uint64_t what = Draw(1000);
  if (what < 200) return Train(site);
  if (what < 450) return UploadOne(site);
  if (what < 700) return SendOne(site);
  if (what < 800) return AnswerProgram();
  if (what < 850) return FireTimers();
  if (what < 900) return TryAttach(site);
  if (what < 930) return LoseStream(site);
  if (what < 940) return AttachCopy(site);
  if (what < 955) return UploadConflict(site);
  if (what < 975) return Commit();
  if (what < 990) return Crash();
  if (what < 992) return Step(StopRequested{run_id_, "someone"});
  if (what < 995) {
    Step(ComputeDone{RunId("no-such-run"), 7, {}, {}});
    return Step(PurgeRequested{run_id_, "someone"});
  }
  if (what < 998) return;
  Step(SiteRemoved{site.id});
  Commit();
  site.removed = true;
}

// Where the run can go on without it, one site never comes back: only deadlines help.
void RandomFederation::MaybeLoseOneForGood() {
  const RunState& state = run();
  const bool has_rounds = state.stages.trigger == TriggerStage::kBarrier;
  const bool waits_for_ever = state.stages.trigger == TriggerStage::kBounded ||
                              (has_rounds && state.stages.round_deadline == absl::ZeroDuration());
  const size_t needed =
      has_rounds ? std::max<size_t>(state.stages.round_sites_min, RoundUpdatesMin(state)) + 1 : 2;
  if (state.phase < RunPhase::kRunning || waits_for_ever || state.members.size() < needed) return;
  if (!Chance(0.3)) return;
  // A validator, and one that it scores, are always waited for.
  const SiteId lost = state.stages.zeno.has_value() && state.members.size() > 2
                          ? *state.members.rbegin()
                          : *state.members.begin();
  if (!IsValidator(state, lost)) sites_.at(lost).gone = true;
}

// Everyone gets its turn: no message is lost, each site is attached, time goes on.
void RandomFederation::FairRound() {
  // Where time was long before, groups are waited for as long.
  const bool slow = run().stages.trigger == TriggerStage::kGroups;
  now_ += slow ? absl::Seconds(10) : absl::Milliseconds(10);
  // So are those who were refused too often.
  for (const auto& [timer, at] : timers_) {
    if (timer.kind == Timer::Kind::kRetryWait) now_ = std::max(now_, at);
  }
  FireTimers();
  while (!programs_.empty()) AnswerProgram();
  for (auto& [id, site] : sites_) {
    if (site.gone) continue;
    if (!site.removed) TryAttach(site);
    while (site.attached && !site.stream_out.empty()) SendOne(site);
    Train(site);
    // What has had no answer is sent again.
    for (auto& [task_id, task] : site.tasks) {
      if (task.update.has_value() && !task.accepted && task.end == FakeSite::Task::End::kNone) {
        site.uploads.push_back(*task.update);
      }
    }
    while (!site.uploads.empty()) UploadOne(site);
  }
}

}  // namespace consilium::federation
