// Trials over ranks: each runs once, somewhere; what no rank of this program says ends the search
// with a name.

#include "sim/cluster/trial_ranks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "consilium/v1/cluster.pb.h"
#include "sim/cluster/rank_roster.h"
#include "tests/fakes/status_matchers.h"
#include "tests/sim/cluster/memory_ranks.h"

namespace consilium {
namespace {

using absl::StatusCode;

RankIdentity SomeIdentity() { return {{"arithmetic", "a"}, {"program", "p"}, {"space", "s"}}; }

Trial TrialOf(uint64_t number) {
  Trial trial;
  trial.proposal.trial = number;
  trial.proposal.rung = static_cast<uint32_t>(number % 3);
  trial.texts = {std::to_string(number), "b"};
  return trial;
}

// Twice the first parameter; trial 7 fails.
absl::StatusOr<TrialResult> Evaluate(const Trial& trial) {
  TrialResult result;
  if (trial.number() == 7) {
    result.error = "seven";
    return result;
  }
  result.objectives = {2.0 * std::stod(trial.texts.at(0)), trial.proposal.rung * 1.0};
  result.deviations = {0.5, 0};
  result.costs = {1, 2, 3, 4, 5};
  return result;
}

// Ranks 1 to n−1, each in a thread, and how often each has run which trial.
class TrialRanksAtWork {
 public:
  explicit TrialRanksAtWork(int size, size_t places = 1, RunTrial run = Evaluate,
                            absl::StatusOr<RankIdentity> identity = SomeIdentity())
      : ranks(size), run_(std::move(run)), places_(places) {
    for (int rank = 1; rank < size; ++rank) {
      threads_.emplace_back([this, rank, identity] {
        TrialRankOptions options = Options(rank);
        options.identity = identity;
        const absl::Status end = ServeTrials(ranks.at(rank), options);
        absl::MutexLock lock(&mu_);
        ends_.push_back(end);
      });
    }
  }
  ~TrialRanksAtWork() { Dismiss(); }

  absl::StatusOr<std::unique_ptr<TrialLeader>> Gather() {
    return TrialLeader::Gather(ranks.at(0), Options(0));
  }
  std::vector<absl::Status> Dismiss(const absl::Status& end = absl::OkStatus()) {
    if (!threads_.empty()) DismissRanks(ranks.at(0), end);
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    absl::MutexLock lock(&mu_);
    return ends_;
  }
  // Trials by the rank that ran them.
  std::map<int, std::multiset<uint64_t>> Ran() {
    absl::MutexLock lock(&mu_);
    return ran_;
  }

  MemoryRanks ranks;

 private:
  TrialRankOptions Options(int rank) {
    TrialRankOptions options;
    options.identity = SomeIdentity();
    options.places = places_;
    options.parameters = 2;
    options.objectives = 2;
    options.run = [this, rank](const Trial& trial) {
      {
        absl::MutexLock lock(&mu_);
        ran_[rank].insert(trial.number());
      }
      return run_(trial);
    };
    return options;
  }

  const RunTrial run_;
  const size_t places_;
  absl::Mutex mu_;
  std::vector<absl::Status> ends_ ABSL_GUARDED_BY(mu_);
  std::map<int, std::multiset<uint64_t>> ran_ ABSL_GUARDED_BY(mu_);
  std::vector<std::thread> threads_;
};

TEST(TrialRanks, RunEachTrialOnceAndTellWhatCameOfIt) {
  TrialRanksAtWork work(4, 2);
  const auto leader = work.Gather();
  ASSERT_THAT(leader, IsOk());
  EXPECT_EQ((*leader)->places(), 8U);
  std::vector<absl::StatusOr<TrialResult>> results(40, absl::UnknownError(""));
  std::vector<std::thread> askers;
  for (uint64_t i = 0; i < results.size(); ++i) {  // More at once than there are places.
    askers.emplace_back([&, i] { results[i] = (*leader)->Run(TrialOf(i)); });
  }
  for (std::thread& asker : askers) asker.join();
  for (const absl::Status& end : work.Dismiss()) EXPECT_THAT(end, IsOk());
  std::multiset<uint64_t> ran;
  for (const auto& [rank, trials] : work.Ran()) ran.insert(trials.begin(), trials.end());
  for (uint64_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(ran.count(i), 1U);
    ASSERT_THAT(results[i], IsOk());
    const TrialResult expected = *Evaluate(TrialOf(i));
    EXPECT_EQ(results[i]->error, expected.error);
    EXPECT_EQ(results[i]->objectives, expected.objectives);
    EXPECT_EQ(results[i]->deviations, expected.deviations);
    EXPECT_EQ(results[i]->costs.parameters, expected.costs.parameters);
    EXPECT_EQ(results[i]->costs.multiply_adds, expected.costs.multiply_adds);
    EXPECT_EQ(results[i]->costs.virtual_seconds, expected.costs.virtual_seconds);
    EXPECT_EQ(results[i]->costs.upload_bytes, expected.costs.upload_bytes);
    EXPECT_EQ(results[i]->costs.wall_seconds, expected.costs.wall_seconds);
  }
}

// All places are taken at the same time, so those of the other ranks are used.
TEST(TrialRanks, AreAllAtWork) {
  absl::Mutex mu;
  int running = 0;
  TrialRanksAtWork work(3, 2, [&](const Trial& trial) {
    absl::MutexLock lock(&mu);
    ++running;
    const auto all = [&running] { return running == 6; };
    mu.Await(absl::Condition(&all));
    return Evaluate(trial);
  });
  const auto leader = work.Gather();
  ASSERT_THAT(leader, IsOk());
  std::vector<std::thread> askers;
  for (uint64_t i = 0; i < 6; ++i) {
    askers.emplace_back([&, i] { EXPECT_THAT((*leader)->Run(TrialOf(i)), IsOk()); });
  }
  for (std::thread& asker : askers) asker.join();
  for (const auto& [rank, trials] : work.Ran()) EXPECT_EQ(trials.size(), 2U) << "rank " << rank;
}

TEST(TrialRanks, AnErrorIsTheSearchs) {
  TrialRanksAtWork work(2, 1, [](const Trial& trial) -> absl::StatusOr<TrialResult> {
    return absl::UnavailableError(absl::StrCat("no room for trial ", trial.number()));
  });
  const auto leader = work.Gather();
  ASSERT_THAT(leader, IsOk());
  std::thread other([&] {
    EXPECT_THAT((*leader)->Run(TrialOf(1)), IsError(StatusCode::kUnavailable, "trial 1"));
  });
  EXPECT_THAT((*leader)->Run(TrialOf(2)), IsError(StatusCode::kUnavailable, "trial 2"));
  other.join();
}

TEST(TrialRanks, RefuseARankWithAnotherSpace) {
  // That its arithmetic is another one follows from that.
  RankIdentity identity = {{"arithmetic", "b"}, {"program", "p"}, {"space", "t"}};
  TrialRanksAtWork work(2, 1, Evaluate, identity);
  EXPECT_THAT(work.Gather(), IsError(StatusCode::kFailedPrecondition, "has another space than"));
  identity["space"] = "s";
  TrialRanksAtWork otherwise(2, 1, Evaluate, identity);
  EXPECT_THAT(otherwise.Gather(),
              IsError(StatusCode::kFailedPrecondition, "has another arithmetic than rank 0"));
  TrialRanksAtWork without(2, 1, Evaluate, absl::NotFoundError("run.textproto is not there"));
  EXPECT_THAT(without.Gather(), IsError(StatusCode::kFailedPrecondition, "run.textproto is not"));
}

TEST(TrialRanks, EndTheSearchWhereTheJobEnds) {
  TrialRanksAtWork work(2);
  const auto leader = work.Gather();
  ASSERT_THAT(leader, IsOk());
  ASSERT_THAT((*leader)->Run(TrialOf(0)), IsOk());
  work.ranks.Fail(0, absl::AbortedError("SIGTERM"));
  // Nothing has died here, and the launcher wants an end.
  while ((*leader)->Run(TrialOf(1)).ok()) {
  }
  EXPECT_THAT((*leader)->Run(TrialOf(1)), IsError(StatusCode::kAborted, "the launcher asks"));
  EXPECT_THAT(work.Dismiss(absl::AbortedError("")).at(0),
              IsError(StatusCode::kAborted, "another rank has died"));
}

// --- Ranks that say what no rank of this program says
// ---------------------------------------------

// What trial 2 comes to where rank 1, which has it, says `message`.
absl::StatusOr<TrialResult> Answered(const std::string& message) {
  MemoryRanks ranks(2);
  SayHello(ranks.at(1), SomeIdentity(), 1);
  TrialRankOptions options;
  options.identity = SomeIdentity();
  options.places = 0;  // All trials are rank 1's.
  options.objectives = 2;
  const auto leader = TrialLeader::Gather(ranks.at(0), std::move(options));
  EXPECT_THAT(leader, IsOk());
  absl::StatusOr<TrialResult> result = absl::UnknownError("");
  std::thread asker([&] { result = (*leader)->Run(TrialOf(2)); });
  EXPECT_THAT(ranks.at(1).Receive(), IsOk());
  ranks.at(1).Send(0, message, {});
  asker.join();
  return result;
}

std::string Answer(const std::function<void(v1::RankTrialResult&)>& change) {
  v1::RankMessage message;
  v1::RankTrialResult& result = *message.mutable_trial_result();
  result.set_number(2);
  for (int i = 0; i < 2; ++i) {
    result.add_objectives(1);
    result.add_deviations(0);
  }
  change(result);
  return message.SerializeAsString();
}

TEST(TrialLeader, EndsWhereARankSaysWhatThisProgramDoesNot) {
  EXPECT_THAT(Answered(Answer([](v1::RankTrialResult&) {})), IsOk());
  v1::RankMessage other;
  other.mutable_leave();
  const std::string messages[] = {
      "no message",
      other.SerializeAsString(),
      Answer([](v1::RankTrialResult& result) { result.set_number(3); }),
      Answer([](v1::RankTrialResult& result) { result.add_objectives(1); }),
      Answer([](v1::RankTrialResult& result) { result.clear_deviations(); }),
      Answer([](v1::RankTrialResult& result) { result.set_objectives(1, INFINITY); }),
      Answer([](v1::RankTrialResult& result) { result.set_wall_seconds(NAN); }),
      Answer([](v1::RankTrialResult& result) { result.set_error("and a result"); }),
      Answer([](v1::RankTrialResult& result) { result.set_code(17); }),
  };
  for (const std::string& message : messages) {
    EXPECT_THAT(Answered(message), IsError(StatusCode::kInternal, "rank 1 ("));
  }
}

TEST(ServeTrials, EndsWhereRankZeroSaysWhatThisProgramDoesNot) {
  v1::RankMessage short_of_a_text;
  short_of_a_text.mutable_trial()->add_texts("1");
  v1::RankMessage hello;
  hello.mutable_hello();
  for (const std::string& message : {std::string("no message"), hello.SerializeAsString(),
                                     short_of_a_text.SerializeAsString()}) {
    MemoryRanks ranks(2);
    ranks.at(0).Send(1, message, {});
    TrialRankOptions options;
    options.identity = SomeIdentity();
    options.parameters = 2;
    options.run = Evaluate;
    EXPECT_THAT(ServeTrials(ranks.at(1), options), IsError(StatusCode::kInternal, "rank 0 sends"));
  }
}

}  // namespace
}  // namespace consilium
