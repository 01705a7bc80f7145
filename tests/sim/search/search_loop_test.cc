#include "sim/search/search_loop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <latch>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/fakes/status_matchers.h"
#include "tests/sim/search/plain_search.h"

namespace consilium {
namespace {

using absl::StatusCode;
using Texts = std::vector<std::string>;

TrialResult Value(double value) {
  TrialResult result;
  result.objectives = {value};
  result.deviations = {0};
  return result;
}

TrialResult SumOfTexts(const Trial& trial) {
  double sum = 0;
  for (const std::string& text : trial.texts) {
    double value = 0;
    EXPECT_TRUE(absl::SimpleAtod(text, &value));
    sum += value;
  }
  return Value(sum);
}

struct Searched {
  absl::StatusOr<std::vector<Trial>> trials;
  std::vector<Trial> known;  // In order.
  std::vector<Texts> evaluated;
};

Searched Search(const v1::SearchSpace& space, size_t workers, std::vector<Trial> known = {},
                const std::function<TrialResult(const Trial&)>& evaluate = SumOfTexts) {
  Searched searched;
  const std::unique_ptr<SearchAlgorithm> algorithm = MakeAlgorithm(space);
  std::mutex mutex;
  SearchLoopInput input;
  input.space = space;
  input.algorithm = algorithm.get();
  input.workers = workers;
  input.known = std::move(known);
  input.evaluate = [&](const Trial& trial) -> absl::StatusOr<TrialResult> {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      searched.evaluated.push_back(trial.texts);
    }
    return evaluate(trial);
  };
  input.on_known = [&](const Trial& trial) {
    searched.known.push_back(trial);
    return absl::OkStatus();
  };
  searched.trials = RunSearchLoop(std::move(input));
  return searched;
}

std::vector<Texts> TextsOf(const std::vector<Trial>& trials) {
  std::vector<Texts> texts;
  for (const Trial& trial : trials) texts.push_back(trial.texts);
  return texts;
}

TEST(SearchLoop, ThreadsDoNotChangeWhatRandomSearchTries) {
  const v1::SearchSpace space = SpaceOf(absl::StrCat(kTwoReals, "random { trials: 60 }"));
  const Searched one = Search(space, 1);
  ASSERT_THAT(one.trials, IsOk());
  EXPECT_EQ(one.trials->size(), 60U);
  EXPECT_EQ(one.known.size(), 60U);
  const Searched many = Search(space, 6);
  ASSERT_THAT(many.trials, IsOk());
  EXPECT_EQ(TextsOf(*many.trials), TextsOf(*one.trials));
}

TEST(SearchLoop, TrialsRunAtOnce) {
  const v1::SearchSpace space = SpaceOf(absl::StrCat(kTwoReals, "random { trials: 4 }"));
  // Nobody passes before four are there.
  std::latch together(4);
  const Searched searched = Search(space, 4, {}, [&](const Trial& trial) {
    together.arrive_and_wait();
    return SumOfTexts(trial);
  });
  EXPECT_THAT(searched.trials, IsOk());
}

constexpr char kFewPoints[] = R"(
  name: "few"
  parameters { path: "a" integer { min: 1 max: 2 } }
  parameters { path: "b" integer { min: 1 max: 2 } }
  objectives { quantity: BEST_SCORE direction: MINIMISE }
  differential_evolution { population: 6 generations: 5 }
)";

TEST(SearchLoop, TriesNothingTwice) {
  for (const size_t workers : {1, 4}) {
    const Searched searched = Search(SpaceOf(kFewPoints), workers);
    ASSERT_THAT(searched.trials, IsOk());
    EXPECT_EQ(searched.trials->size(), 36U);
    EXPECT_LE(searched.evaluated.size(), 4U);
    EXPECT_EQ(std::set<Texts>(searched.evaluated.begin(), searched.evaluated.end()).size(),
              searched.evaluated.size());
    std::map<uint64_t, Trial> by_number;
    for (const Trial& trial : searched.known) {
      if (trial.same_as.has_value()) {
        // It comes behind the one that it is the same as.
        ASSERT_TRUE(by_number.contains(*trial.same_as));
        EXPECT_EQ(by_number[*trial.same_as].texts, trial.texts);
        EXPECT_EQ(by_number[*trial.same_as].result.objectives, trial.result.objectives);
      }
      by_number[trial.number()] = trial;
    }
  }
}

TEST(SearchLoop, TheSameTextsAtAnotherRungAreAnotherTrial) {
  const v1::SearchSpace space = SpaceOf(
      absl::StrCat(kTwoReals, "successive_halving { trials: 9 versions_min: 1 versions_max: 9 }"));
  const Searched searched = Search(space, 3);
  ASSERT_THAT(searched.trials, IsOk());
  std::map<uint32_t, int> rungs;
  for (const Trial& trial : *searched.trials) {
    EXPECT_FALSE(trial.same_as.has_value());
    ++rungs[trial.proposal.rung];
  }
  EXPECT_EQ(rungs[0], 9);
  EXPECT_GE(rungs[2], 1);
}

TEST(SearchLoop, GoesOnWithWhatIsNotKnown) {
  const v1::SearchSpace space = SpaceOf(absl::StrCat(kTwoReals, "random { trials: 20 }"));
  const Searched whole = Search(space, 1);
  ASSERT_THAT(whole.trials, IsOk());
  std::vector<Trial> known;
  for (const size_t i : {0, 5, 3, 2, 19}) known.push_back((*whole.trials)[i]);
  const Searched rest = Search(space, 3, known);
  ASSERT_THAT(rest.trials, IsOk());
  EXPECT_EQ(rest.evaluated.size(), 15U);
  EXPECT_EQ(rest.known.size(), 15U);
  EXPECT_EQ(TextsOf(*rest.trials), TextsOf(*whole.trials));
}

TEST(SearchLoop, EvolutionGoesOnAsIfNothingHadHappened) {
  const v1::SearchSpace space = SpaceOf(
      absl::StrCat(kTwoReals, "differential_evolution { population: 5 generations: 6 } seed: 2"));
  const Searched whole = Search(space, 1);
  ASSERT_THAT(whole.trials, IsOk());
  for (const size_t known : {3, 11}) {
    const Searched rest =
        Search(space, 1, {whole.known.begin(), whole.known.begin() + static_cast<long>(known)});
    ASSERT_THAT(rest.trials, IsOk());
    EXPECT_EQ(TextsOf(*rest.trials), TextsOf(*whole.trials));
  }
}

TEST(SearchLoop, GenerationsAreTheSameWithAnyNumberOfWorkersAndMayGrow) {
  const auto space_of = [](int generations) {
    return SpaceOf(
        absl::StrCat(kTwoReals, "cma_es { population: 6 generations: ", generations, " } seed: 2"));
  };
  const Searched whole = Search(space_of(5), 1);
  ASSERT_THAT(whole.trials, IsOk());
  EXPECT_EQ(whole.trials->size(), 36U);
  const Searched many = Search(space_of(2), 4);
  ASSERT_THAT(many.trials, IsOk());
  EXPECT_EQ(many.trials->size(), 18U);
  const Searched rest = Search(space_of(5), 4, many.known);
  ASSERT_THAT(rest.trials, IsOk());
  EXPECT_EQ(rest.evaluated.size(), 18U);
  EXPECT_EQ(TextsOf(*rest.trials), TextsOf(*whole.trials));
}

TEST(SearchLoop, WhatAnAlgorithmCanNotGoOnFromEndsTheSearch) {
  const v1::SearchSpace space =
      SpaceOf(absl::StrCat(kTwoReals, "cma_es { population: 6 generations: 3 }"));
  std::vector<Trial> known = Search(space, 1).known;
  known.resize(9);
  known[4].proposal.point[0] = 1 - known[4].proposal.point[0];
  for (const size_t workers : {1, 3}) {
    const Searched rest = Search(space, workers, known);
    EXPECT_THAT(rest.trials, IsError(StatusCode::kFailedPrecondition, "trial 4 was tried at"));
    EXPECT_TRUE(rest.evaluated.empty());
  }
}

TEST(SearchLoop, EndsAfterItsBudgetAlsoOverSeveralProcesses) {
  const v1::SearchSpace space =
      SpaceOf(absl::StrCat(kTwoReals, "random { trials: 20 } trials_max: 7"));
  const Searched first = Search(space, 4);
  ASSERT_THAT(first.trials, IsOk());
  EXPECT_EQ(first.evaluated.size(), 7U);
  const Searched second = Search(space, 4, *first.trials);
  ASSERT_THAT(second.trials, IsOk());
  EXPECT_EQ(second.evaluated.size(), 0U);
  const v1::SearchSpace more =
      SpaceOf(absl::StrCat(kTwoReals, "random { trials: 20 } trials_max: 9"));
  EXPECT_EQ(Search(more, 1, *first.trials).evaluated.size(), 2U);
}

TEST(SearchLoop, AFailedTrialIsAResultAndAStatusEndsTheSearch) {
  const v1::SearchSpace space = SpaceOf(absl::StrCat(kTwoReals, "random { trials: 9 }"));
  const Searched searched = Search(space, 2, {}, [](const Trial& trial) {
    TrialResult result = SumOfTexts(trial);
    if (trial.number() % 2 == 0) result.error = "failed";
    return result;
  });
  ASSERT_THAT(searched.trials, IsOk());
  EXPECT_EQ(searched.trials->size(), 9U);
  EXPECT_EQ(BestTrials(space, *searched.trials)[0] % 2, 1U);

  for (const bool in_evaluate : {true, false}) {
    const std::unique_ptr<SearchAlgorithm> algorithm = MakeAlgorithm(space);
    std::atomic<int> evaluated = 0;
    SearchLoopInput input;
    input.space = space;
    input.algorithm = algorithm.get();
    input.workers = 3;
    input.evaluate = [&](const Trial& trial) -> absl::StatusOr<TrialResult> {
      if (++evaluated > 2 && in_evaluate) return absl::CancelledError("ended");
      return SumOfTexts(trial);
    };
    input.on_known = [&](const Trial&) {
      return evaluated > 2 && !in_evaluate ? absl::CancelledError("ended") : absl::OkStatus();
    };
    EXPECT_THAT(RunSearchLoop(std::move(input)), IsError(StatusCode::kCancelled, "ended"));
    EXPECT_LT(evaluated, 9);
  }
}

TEST(SearchLoop, MaximisesWhereItIsTold) {
  v1::SearchSpace space = SpaceOf(
      absl::StrCat(kTwoReals, "differential_evolution { population: 8 generations: 30 } seed: 5"));
  space.mutable_objectives(0)->set_direction(v1::SearchObjective::MAXIMISE);
  const Searched searched = Search(space, 3);
  ASSERT_THAT(searched.trials, IsOk());
  double most = -10;
  for (const Trial& trial : *searched.trials) {
    most = std::max(most, trial.result.objectives[0]);
  }
  EXPECT_GT(most, 4.9);  // Of x <= 2, y <= 3.
}

}  // namespace
}  // namespace consilium
