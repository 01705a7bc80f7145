// Random lives of a site: an aggregator that says sensible and senseless things in any order, a
// shell that answers, fails and is slow, a link that comes and goes, and crashes at any commit
// boundary, through the same CommitBarrier as in production. After every input the invariants
// hold; after every crash the fold of what was committed is the state that was lost; and whatever
// happened, once the world behaves the site finishes its work.
//
// CONSILIUM_PROPERTY_SEQUENCES (10,000) lives from CONSILIUM_PROPERTY_SEED (1); a failing one
// prints its seed, which alone replays it with CONSILIUM_PROPERTY_SEQUENCES=1.

#include <cstdlib>
#include <deque>
#include <iostream>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "protocol/core/commit_barrier.h"
#include "protocol/wire/derived_seed.h"
#include "tests/site_agent/core/invariants.h"
#include "tests/site_agent/core/messages.h"

namespace consilium::site {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = getenv(name);
  return text == nullptr ? otherwise : strtoull(text, nullptr, 10);
}

// Task phases, kinds of action, the end of a run, crashes with and without a loss.
constexpr size_t kThingsThatHappen = 10 + std::variant_size_v<Action> + 3;

struct JournalEntry {
  absl::Time now;
  Event event;
  Digest state_after = {};
};

// The site, its journal, and a world around it.
class Life {
 public:
  explicit Life(uint64_t seed)
      : random_(SeedPath{.run_seed = seed, .purpose = "property", .site = "", .task = 0}) {
    options_.task_duration_min = Chance(3) ? absl::Seconds(2) : absl::ZeroDuration();
    for (const char* name : {"run-a", "run-b"}) {
      PlanInput input;
      input.task_duration_min_ms = Chance(2) ? 1500 : 0;
      input.trigger = Chance(3) ? PlanInput::Trigger::kBarrier : PlanInput::Trigger::kBuffer;
      if (input.trigger == PlanInput::Trigger::kBarrier && Chance(2)) {
        input.preset = Chance(2) ? v1::AggregationConfig::SCAFFOLD : v1::AggregationConfig::FEDPER;
      }
      if (Chance(4)) input.standardise = v1::DataConfig::NONE;
      plans_[RunId(name)] = PlanOf(input);
    }
    Begin();
  }

  // Empty, or what was broken.
  std::string Live() {
    const uint64_t inputs = 30 + random_.NextBelow(70);
    for (uint64_t i = 0; i < inputs && broken_.empty(); ++i) Happen();
    if (broken_.empty()) ComeToRest();
    return broken_;
  }

  // How often something happened, to know that the lives are worth living.
  const std::map<std::string, uint64_t>& counts() const { return counts_; }

 private:
  bool Chance(uint64_t one_in) { return random_.NextBelow(one_in) == 0; }

  void Begin() {
    engine_ = SiteEngine(SiteId(kSiteName), options_);
    invariants_ = Invariants();
    barrier_ = {};
    pending_.clear();
    timers_.clear();
  }

  // ---- The shell

  void Take(const Event& event) {
    if (!broken_.empty()) return;
    journal_.push_back({now_, event});
    std::vector<Action> actions = engine_.Step(now_, event);
    broken_ = invariants_.Check(engine_, event, actions);
    Count(actions);
    if (Chance(4)) journal_.back().state_after = engine_.StateDigest();
    barrier_.Hold(engine_.sequence(), std::move(actions));
    if (!Chance(4)) Commit();
  }

  void Count(const std::vector<Action>& actions) {
    for (const auto& [id, run] : engine_.runs()) {
      for (const auto& [task_id, task] : run.tasks) {
        ++counts_["task in phase " + std::to_string(static_cast<int>(task.phase))];
      }
      if (run.ended()) ++counts_["run ended"];
    }
    for (const Action& action : actions) {
      ++counts_["action of kind " + std::to_string(action.index())];
    }
  }

  void Commit() {
    committed_ = journal_.size();
    for (Action& action : barrier_.Release(engine_.sequence())) Execute(std::move(action));
  }

  void Execute(Action action) {
    if (const auto* timer = std::get_if<SetTimer>(&action)) {
      timers_[timer->timer] = timer->at;
    } else if (const auto* send = std::get_if<Send>(&action)) {
      const auto trained = DoneBefore(send->update);
      if (!trained.has_value()) {
        broken_ += "sent before its TrainDone was committed\n";
        return;
      }
      sent_.push_back(*trained);
      pending_.push_back(std::move(action));
    } else if (const auto* stop = std::get_if<StopTraining>(&action)) {
      // As often as not it comes too late, and TrainDone arrives all the same.
      if (Chance(2)) Remove<Train>(stop->run);
    } else if (std::get_if<CheckPlan>(&action) != nullptr ||
               std::get_if<ComputeStatistics>(&action) != nullptr ||
               std::get_if<Fetch>(&action) != nullptr || std::get_if<Train>(&action) != nullptr ||
               std::get_if<Evaluate>(&action) != nullptr) {
      pending_.push_back(std::move(action));
    }
  }

  template <typename A>
  void Remove(const RunId& run) {
    for (auto action = pending_.begin(); action != pending_.end(); ++action) {
      const A* const one = std::get_if<A>(&*action);
      if (one != nullptr && one->run == run) {
        pending_.erase(action);
        return;
      }
    }
  }

  std::optional<TrainDone> DoneBefore(const Digest& update) const {
    for (size_t i = 0; i < committed_; ++i) {
      const auto* done = std::get_if<TrainDone>(&journal_[i].event);
      if (done != nullptr && done->update == update) return *done;
    }
    return std::nullopt;
  }

  enum class World : uint8_t { kAsItComes, kKind };

  // The answer to one thing that the engine asked for.
  void Answer(World world) {
    if (pending_.empty()) return;
    const size_t index = world == World::kKind ? 0 : random_.NextBelow(pending_.size());
    const Action action = pending_[index];
    pending_.erase(pending_.begin() + static_cast<ptrdiff_t>(index));
    Take(std::visit([this, world](const auto& asked) { return AnswerTo(asked, world); }, action));
  }

  Event AnswerTo(const CheckPlan& asked, World world) {
    PlanChecked answer = Approval(asked.run);
    if (world == World::kAsItComes && Chance(8)) answer.answer = PlanChecked::Answer::kRefused;
    if (world == World::kAsItComes && Chance(8)) {
      answer.answer = PlanChecked::Answer::kWaitsForPerson;
    }
    if (world == World::kAsItComes && Chance(8)) {
      answer.answer = PlanChecked::Answer::kWaitsForData;
      answer.message = "no data set";
    }
    return answer;
  }
  Event AnswerTo(const ComputeStatistics& asked, World) { return StatisticsOf(asked.run); }
  Event AnswerTo(const Fetch& asked, World world) {
    if (world == World::kKind || !Chance(4)) return ModelFetched{asked.run, asked.version};
    const v1::Reason reason = Chance(2) ? v1::TRUNCATED : v1::VERSION_UNKNOWN;
    return FetchFailed{asked.run, asked.version, ErrorOf(reason, 0), random_.NextUnit()};
  }
  Event AnswerTo(const Train& asked, World world) {
    if (world == World::kAsItComes && Chance(6)) {
      return TrainFailed{asked.run, asked.task, "not finite"};
    }
    return TrainedOf(asked);
  }
  Event AnswerTo(const Evaluate& asked, World) {
    return EvaluationComputed{asked.run, asked.version, asked.split, SomeMetrics()};
  }
  Event AnswerTo(const Send& asked, World world) {
    const uint64_t draw = world == World::kKind ? 9 : random_.NextBelow(10);
    if (draw < 2) {
      return SendFailed{asked.run, asked.task, ErrorOf(v1::BUSY, 100), random_.NextUnit()};
    }
    if (draw == 2) {
      return SendFailed{asked.run, asked.task, ErrorOf(v1::TOO_STALE, 0), random_.NextUnit()};
    }
    if (draw == 3) return UpdateRefused{asked.run, asked.task, v1::ROUND_CLOSED, ""};
    if (draw == 4) return UpdateRefused{asked.run, asked.task, v1::INCARNATION_FENCED, ""};
    return ReceiptOf(*DoneBefore(asked.update), {.sequence = asked.task.value()});
  }
  template <typename A>
  Event AnswerTo(const A&, World) {
    return LinkDown{};  // Never asked: Execute keeps nothing else.
  }

  // ---- The aggregator, sensible or not

  RunId SomeRun() {
    const uint64_t draw = random_.NextBelow(20);
    return RunId(draw == 0 ? "ghost" : draw < 13 ? "run-a" : "run-b");
  }

  Event SomeDirective() {
    const RunId run = SomeRun();
    const auto plan = plans_.find(run);
    switch (random_.NextBelow(plan == plans_.end() ? 6 : 8)) {
      case 0:
        return TaskOffered{run, TaskId(random_.NextBelow(7)), Version(random_.NextBelow(4)),
                           Chance(15) ? 0 : kLocalSteps};
      case 1:
      case 2: {
        // Before the start a site takes no model, and an aggregator seldom has one.
        const auto known = engine_.runs().find(run);
        const bool started =
            known != engine_.runs().end() && known->second.standardisation != nullptr;
        if (!started && !Chance(4)) return StartOf(run);
        const auto split = static_cast<v1::Split>(random_.NextBelow(Chance(20) ? 9 : 4));
        return Announcement(run, {.version = random_.NextBelow(6),
                                  .evaluate = split,
                                  .content = Chance(25) ? "other" : ""});
      }
      case 3:
        return SomeReceipt();
      case 4:
        if (!Chance(3)) return StartOf(run);
        return UpdateRefused{run, TaskId(random_.NextBelow(7)), v1::TOO_STALE, ""};
      case 5:
        if (!Chance(6)) return TaskOffered{run, TaskId(1 + random_.NextBelow(6)), {}, kLocalSteps};
        return RunEnded{run, Version(random_.NextBelow(6)), Version(random_.NextBelow(6)), ""};
      default:
        return OfferOf(run, plan->second);
    }
  }

  Event SomeReceipt() {
    if (sent_.empty()) return ReceiptReceived{};
    const TrainDone trained = sent_[random_.NextBelow(sent_.size())];
    return ReceiptOf(trained, {.kind = static_cast<v1::Receipt::Kind>(random_.NextBelow(5)),
                               .sequence = random_.NextBelow(3),
                               .version = random_.NextBelow(3)});
  }

  // ---- What happens

  void Happen() {
    const uint64_t draw = random_.NextBelow(100);
    if (draw == 0 && Chance(4)) {
      Take(RunWithdrawn{SomeRun()});
    } else if (draw < 45) {
      Answer(World::kAsItComes);
    } else if (draw < 75) {
      Take(SomeDirective());
    } else if (draw < 82) {
      FireTimer();
    } else if (draw < 88) {
      Take(LinkUp{});
    } else if (draw < 90) {
      Take(LinkDown{});
    } else if (draw < 94) {
      now_ += absl::Milliseconds(random_.NextBelow(3000));
    } else if (draw < 95) {
      LookAgain();
    } else if (draw < 97) {
      Commit();
    } else {
      Crash();
    }
  }

  // A person has approved something or imported data: the shell checks what is undecided.
  void LookAgain() {
    for (const auto& [id, run] : engine_.runs()) {
      if (run.decision == nullptr && !run.ended()) {
        pending_.push_back(CheckPlan{id, run.plan, run.plan_hash});
      }
    }
  }

  // Any timer that is set, mostly at its time; some fire too early.
  void FireTimer() {
    if (timers_.empty()) return;
    auto timer = timers_.begin();
    std::advance(timer, random_.NextBelow(timers_.size()));
    if (!Chance(5)) {
      now_ = std::max(now_, timer->second);
    } else if (now_ < timer->second) {
      Take(TimerFired{timer->first});
      return;
    }
    const Timer fired = timer->first;
    timers_.erase(timer);
    Take(TimerFired{fired});
  }

  void Crash() {
    ++counts_["crash"];
    if (committed_ < journal_.size()) ++counts_["crash that loses inputs"];
    journal_.resize(committed_);
    Begin();
    for (const JournalEntry& entry : journal_) {
      const std::vector<Action> actions = engine_.Step(entry.now, entry.event);
      broken_ += invariants_.Check(engine_, entry.event, actions);
      if (entry.state_after != Digest{} && engine_.StateDigest() != entry.state_after) {
        broken_ += "the fold of the journal is another state\n";
      }
      if (!broken_.empty()) return;
    }
    Take(Started{Incarnation(++incarnation_)});
    Commit();
  }

  // From now on the link holds, everything asked for succeeds, and timers fire.
  void ComeToRest() {
    Take(LinkUp{});
    Commit();
    LookAgain();
    for (int i = 0; i < 500 && broken_.empty(); ++i) {
      if (!pending_.empty()) {
        Answer(World::kKind);
      } else if (!timers_.empty()) {
        now_ = std::max(now_, timers_.begin()->second);
        const Timer fired = timers_.begin()->first;
        timers_.erase(timers_.begin());
        Take(TimerFired{fired});
      } else {
        break;
      }
      Commit();
    }
    if (!broken_.empty()) return;
    for (const auto& [id, run] : engine_.runs()) CheckAtRest(id, run);
  }

  void CheckAtRest(const RunId& id, const RunState& run) {
    if (!pending_.empty() || !timers_.empty()) broken_ += "the site does not come to rest\n";
    if (run.decision == nullptr && !run.ended()) broken_ += "a run stays undecided\n";
    std::optional<Version> newest;
    for (const auto& [version, model] : run.models) {
      if (model.where != ModelState::Where::kHere) broken_ += "a wanted model never came\n";
      if (!model.evaluations_wanted.empty() || !model.evaluations_running.empty()) {
        broken_ += "an evaluation is owed\n";
      }
      newest = version;
    }
    const bool awaits_receipts =
        run.keeps != SiteKeeps::kNothing &&
        (!run.held.empty() || std::any_of(run.open.begin(), run.open.end(), [&run](TaskId id) {
          return run.tasks.at(id).phase == TaskPhase::kAccepted;
        }));
    for (const TaskId task_id : run.open) {
      const TaskState& task = run.tasks.at(task_id);
      const bool waits =
          task.phase == TaskPhase::kGranted && !run.ended() &&
          (run.standardisation == nullptr || newest < task.base_min || awaits_receipts);
      if (!waits) {
        broken_ += id.value() + ": task " + std::to_string(task_id.value()) + " rests in phase " +
                   std::to_string(static_cast<int>(task.phase)) + "\n";
      }
    }
  }

  RandomStream random_;
  SiteOptions options_;
  std::map<RunId, std::shared_ptr<const v1::RunPlan>> plans_;
  SiteEngine engine_{SiteId(kSiteName), {}};
  Invariants invariants_;
  CommitBarrier<Action> barrier_;
  std::vector<JournalEntry> journal_;
  size_t committed_ = 0;
  absl::Time now_ = absl::FromUnixSeconds(1700000000);
  uint64_t incarnation_ = 0;
  std::deque<Action> pending_;
  std::map<Timer, absl::Time> timers_;
  std::vector<TrainDone> sent_;
  std::map<std::string, uint64_t> counts_;
  std::string broken_;
};

TEST(SiteEngineProperty, HoldsItsInvariantsWhateverHappens) {
  const uint64_t first = FromEnvironment("CONSILIUM_PROPERTY_SEED", 1);
  const uint64_t lives = FromEnvironment("CONSILIUM_PROPERTY_SEQUENCES", 10000);
  std::map<std::string, uint64_t> counts;
  for (uint64_t seed = first; seed < first + lives; ++seed) {
    Life life(seed);
    const std::string broken = life.Live();
    ASSERT_EQ(broken, "") << "CONSILIUM_PROPERTY_SEED=" << seed
                          << " CONSILIUM_PROPERTY_SEQUENCES=1";
    for (const auto& [what, times] : life.counts()) counts[what] += times;
  }
  for (const auto& [what, times] : counts) std::cout << what << ": " << times << "\n";
  if (lives < 1000) return;
  EXPECT_EQ(counts.size(), kThingsThatHappen) << "something never happened";
}

}  // namespace
}  // namespace consilium::site
