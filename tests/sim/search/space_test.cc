#include "sim/search/space.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "protocol/core/files.h"
#include "protocol/wire/derived_seed.h"
#include "protocol/wire/text_format.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"
#include "tests/sim/search/plain_search.h"

namespace consilium {
namespace {

using absl::StatusCode;

v1::SearchParameter ParameterOf(const std::string& kind) {
  return SpaceOf(absl::StrCat("name: 's' parameters { path: 'p' ", kind,
                              " } objectives { quantity: BEST_SCORE direction: MINIMISE } "
                              "random { trials: 1 }"))
      .parameters(0);
}

std::vector<std::string> GridTexts(const std::string& kind) {
  const v1::SearchParameter parameter = ParameterOf(kind);
  std::vector<std::string> texts;
  for (const double u : GridCoordinates(parameter)) texts.push_back(TextAt(parameter, u));
  return texts;
}

TEST(TextAt, EveryIntegerIsAsLikely) {
  const v1::SearchParameter parameter = ParameterOf("integer { min: -2 max: 2 }");
  std::map<std::string, int> counts;
  for (int i = 0; i < 1000; ++i) ++counts[TextAt(parameter, (i + 0.5) / 1000)];
  EXPECT_EQ(counts, (std::map<std::string, int>{
                        {"-2", 200}, {"-1", 200}, {"0", 200}, {"1", 200}, {"2", 200}}));
  EXPECT_EQ(TextAt(parameter, 0), "-2");
  EXPECT_EQ(TextAt(parameter, 1), "2");
}

TEST(TextAt, RealsStayInTheirRangeAndLogIsOfEqualFactors) {
  const v1::SearchParameter log = ParameterOf("real { min: 0.0001 max: 1 scale: LOG }");
  EXPECT_EQ(TextAt(log, 0), "0.0001");
  EXPECT_EQ(TextAt(log, 0.25), "0.001");
  EXPECT_EQ(TextAt(log, 0.5), "0.01");
  EXPECT_EQ(TextAt(log, 1), "1");
  EXPECT_EQ(TextAt(ParameterOf("real { min: -1 max: 3 }"), 0.5), "1");
  // Six digits of these would lie outside.
  const v1::SearchParameter narrow = ParameterOf("real { min: 0.12345678 max: 0.87654321 }");
  for (const double u : {0.0, 1.0, -1.0, 2.0}) {
    double value = 0;
    ASSERT_TRUE(absl::SimpleAtod(TextAt(narrow, u), &value));
    EXPECT_GE(value, 0.12345678);
    EXPECT_LE(value, 0.87654321);
  }
}

TEST(TextAt, AChoiceHasAnIntervalForEachValue) {
  const v1::SearchParameter parameter = ParameterOf("choice { values: ['A', 'B', 'C'] }");
  EXPECT_EQ(TextAt(parameter, 0), "A");
  EXPECT_EQ(TextAt(parameter, 0.34), "B");
  EXPECT_EQ(TextAt(parameter, 0.67), "C");
  EXPECT_EQ(TextAt(parameter, 1), "C");
}

TEST(GridCoordinates, AreOfEachValueOnce) {
  using Texts = std::vector<std::string>;
  EXPECT_EQ(GridTexts("integer { min: 3 max: 6 }"), Texts({"3", "4", "5", "6"}));
  EXPECT_EQ(GridTexts("integer { min: 16 max: 4096 scale: LOG grid_points: 5 }"),
            Texts({"16", "64", "256", "1024", "4096"}));
  EXPECT_EQ(GridTexts("integer { min: 1 max: 3 grid_points: 9 }"), Texts({"1", "2", "3"}));
  EXPECT_EQ(GridTexts("integer { min: 7 max: 7 }"), Texts({"7"}));
  EXPECT_EQ(GridTexts("real { min: 0 max: 1 grid_points: 3 }"), Texts({"0", "0.5", "1"}));
  EXPECT_EQ(GridTexts("real { min: 0.001 max: 0.1 scale: LOG grid_points: 3 }"),
            Texts({"0.001", "0.01", "0.1"}));
  EXPECT_EQ(GridTexts("choice { values: ['A', 'B'] }"), Texts({"A", "B"}));
  // Every integer of a logarithmic range has its own interval of coordinates.
  const v1::SearchParameter log = ParameterOf("integer { min: 1 max: 500 scale: LOG }");
  std::set<std::string> all;
  for (const double u : GridCoordinates(log)) all.insert(TextAt(log, u));
  EXPECT_EQ(all.size(), 500U);
}

TEST(KeyOf, TellsTextsApart) {
  EXPECT_NE(KeyOf({"1", "23"}), KeyOf({"12", "3"}));
  EXPECT_NE(KeyOf({"a", ""}), KeyOf({"", "a"}));
  EXPECT_NE(KeyOf({"1:a"}), KeyOf({"a"}));
}

constexpr char kGood[] = R"(
  name: "good"
  parameters { path: "a" integer { min: 1 max: 4 } }
  parameters { path: "b" real { min: 0.5 max: 4 grid_points: 4 } }
  objectives { quantity: BEST_SCORE direction: MINIMISE }
  random { trials: 5 }
)";

TEST(ResolveSearchSpace, FillsInDefaults) {
  const v1::SearchSpace space = SpaceOf(absl::StrReplaceAll(
      kGood, {{"random { trials: 5 }",
               "objectives { score_for_cost { multiply_adds_target: 100 } direction: MAXIMISE } "
               "objectives { summary: 'federated.auroc' direction: MAXIMISE } grid {}"}}));
  EXPECT_EQ(space.parameters(0).integer().scale(), v1::LINEAR);
  EXPECT_EQ(space.objectives(0).name(), "best_score");
  EXPECT_EQ(space.objectives(1).name(), "score_for_cost");
  EXPECT_EQ(space.objectives(1).score_for_cost().exponent(), -0.07);
  EXPECT_EQ(space.objectives(1).score_for_cost().score(), "best_score");
  EXPECT_EQ(space.objectives(2).name(), "federated_auroc");
  const v1::SearchSpace de = SpaceOf(absl::StrReplaceAll(
      kGood,
      {{"random { trials: 5 }", "differential_evolution { population: 4 generations: 1 }"}}));
  EXPECT_EQ(de.differential_evolution().crossover(), 0.7);
  EXPECT_EQ(de.differential_evolution().mutation(), 0.5);
  const v1::SearchSpace cma =
      SpaceOf(absl::StrReplaceAll(kGood, {{"random { trials: 5 }", "cma_es { generations: 1 }"}}));
  EXPECT_EQ(cma.cma_es().population(), 6U);  // 4 + ⌊3·ln 2⌋
  EXPECT_EQ(cma.cma_es().sigma(), 0.3);
  const v1::SearchSpace nsga = SpaceOf(
      absl::StrReplaceAll(kGood, {{"random { trials: 5 }",
                                   "objectives { quantity: PARAMETERS direction: MINIMISE } "
                                   "nsga2 { population: 8 generations: 1 }"}}));
  const v1::SearchSpace aging = SpaceOf(
      absl::StrReplaceAll(kGood, {{"random { trials: 5 }", "aging_evolution { trials: 9 }"}}));
  EXPECT_EQ(aging.aging_evolution().population(), 20U);
  EXPECT_EQ(aging.aging_evolution().sample(), 5U);
  const v1::SearchSpace policy = SpaceOf(
      absl::StrReplaceAll(kGood, {{"random { trials: 5 }", "policy_gradient { trials: 9 }"}}));
  EXPECT_EQ(policy.policy_gradient().learning_rate(), 0.2);
  EXPECT_EQ(policy.policy_gradient().decay(), 0.9);
  EXPECT_EQ(nsga.nsga2().crossover(), 0.95);
  EXPECT_EQ(nsga.nsga2().mutation(), 0.5);  // One of two parameters.
}

TEST(ResolveSearchSpace, NamesWhatIsWrong) {
  struct Case {
    std::string from, to, words;
  };
  const std::string parameter = "path: \"a\" integer { min: 1 max: 4 }";
  const std::string objective = "quantity: BEST_SCORE direction: MINIMISE";
  const std::vector<Case> cases = {
      {"name: \"good\"", "name: 'Good'", "name:"},
      {parameter, "path: 'a=1' integer { min: 1 max: 4 }", "parameters[0].path"},
      {parameter, "integer { min: 1 max: 4 }", "parameters[0].path"},
      {parameter, "path: 'b' integer { min: 1 max: 4 }", "parameters[1].path: b is there twice"},
      {parameter, "path: 'a'", "must have integer, real or choice"},
      {parameter, "path: 'a' integer { min: 5 max: 4 }", "parameters[0] (a).integer"},
      {parameter, "path: 'a' integer { min: 0 max: 4 scale: LOG }", "must be above 0"},
      {parameter, "path: 'a' integer { min: 1 max: 4 grid_points: 1 }", "grid_points: is 1"},
      {parameter, "path: 'a' real { min: 1 max: inf }", "finite"},
      {parameter, "path: 'a' real { min: nan max: 1 }", "finite"},
      {parameter, "path: 'a' choice {}", "choice.values: is 0"},
      {parameter, "path: 'a' choice { values: ['x', 'x'] }", "x is there twice"},
      {parameter, "path: 'a' choice { values: [''] }", "a value has 1 to"},
      {objective, "quantity: BEST_SCORE", "objectives[0].direction"},
      {objective, "direction: MINIMISE", "must have quantity, summary or score_for_cost"},
      {objective, "direction: MINIMISE score_for_cost {}", "multiply_adds_target"},
      {objective, "name: 'A' quantity: BEST_SCORE direction: MINIMISE", "objectives[0].name"},
      {objective, objective + " } objectives { " + objective, "best_score is there twice"},
      {objective, objective + " } objectives { name: 'best_score_deviation' " + objective,
       "objectives[1].name: best_score_deviation is another column"},
      {objective, objective + " name: 'error'", "objectives[0].name: error is another column"},
      {objective,
       "name: 'seed' " + objective +
           " } parameters { path: 'seed' "
           "integer { min: 1 max: 2 }",
       "objectives[0].name: seed is another column"},
      {"random { trials: 5 }", "", "there must be one of grid"},
      {"random { trials: 5 }", "random {}", "random.trials: is 0"},
      {"random { trials: 5 }", "differential_evolution { population: 3 generations: 1 }",
       "population: is 3"},
      {"random { trials: 5 }",
       "differential_evolution { population: 4 generations: 1 crossover: 1.5 }", "crossover"},
      {"random { trials: 5 }",
       "differential_evolution { population: 4 generations: 1 mutation: -1 }", "mutation"},
      {"random { trials: 5 }", "successive_halving { trials: 9 versions_min: 4 versions_max: 2 }",
       "versions_max: is 2"},
      {"random { trials: 5 }", "successive_halving { trials: 9 versions_max: 2 }",
       "versions_min: is 0"},
      {"random { trials: 5 }",
       "successive_halving { trials: 9 virtual_ms_min: 4 virtual_ms_max: 2 }",
       "virtual_ms_max: is 2"},
      {"random { trials: 5 }", "successive_halving { trials: 9 virtual_ms_max: 2 }",
       "virtual_ms_min: is 0"},
      {"random { trials: 5 }",
       "successive_halving { trials: 9 virtual_ms_min: 4 virtual_ms_max: 2000000000000 }",
       "virtual_ms_max: is 2e+12"},
      {"random { trials: 5 }",
       "successive_halving { trials: 9 versions_min: 1 virtual_ms_min: 4 virtual_ms_max: 8 }",
       "of versions or of virtual_ms"},
      {"random { trials: 5 }",
       "successive_halving { trials: 9 versions_min: 4 versions_max: 8 } "
       "objectives { quantity: PARAMETERS direction: MINIMISE }",
       "successive_halving takes one"},
      {"random { trials: 5 }", "cma_es { population: 4 generations: 1 }",
       "cma_es.population: is 4"},
      {"random { trials: 5 }", "cma_es { population: 8 }", "cma_es.generations: is 0"},
      {"random { trials: 5 }", "cma_es { generations: 1 sigma: 1.5 }", "cma_es.sigma: is 1.5"},
      {"random { trials: 5 }", "cma_es { generations: 1 sigma: nan }", "cma_es.sigma"},
      {"random { trials: 5 }",
       "cma_es { generations: 1 } objectives { quantity: PARAMETERS direction: MINIMISE }",
       "cma_es takes one; there are 2"},
      {"random { trials: 5 }", "nsga2 { population: 8 generations: 1 }", "nsga2 takes two or more"},
      {"random { trials: 5 }",
       "nsga2 { population: 10 generations: 1 } "
       "objectives { quantity: PARAMETERS direction: MINIMISE }",
       "nsga2.population: is 10, but must be a multiple of 4"},
      {"random { trials: 5 }",
       "nsga2 { population: 8 generations: 1 crossover: 1 } "
       "objectives { quantity: PARAMETERS direction: MINIMISE }",
       "nsga2.crossover: must be below 1"},
      {"random { trials: 5 }",
       "nsga2 { population: 8 generations: 1 mutation: 1.01 } "
       "objectives { quantity: PARAMETERS direction: MINIMISE }",
       "nsga2.mutation: is 1.01"},
      {"random { trials: 5 }", "aging_evolution { trials: 0 }", "aging_evolution.trials: is 0"},
      {"random { trials: 5 }", "aging_evolution { population: 1 trials: 1 }", "population: is 1"},
      {"random { trials: 5 }", "aging_evolution { population: 4 sample: 5 trials: 1 }",
       "aging_evolution.sample: is 5"},
      {"random { trials: 5 }",
       "aging_evolution { trials: 1 } objectives { quantity: PARAMETERS direction: MINIMISE }",
       "aging_evolution takes one"},
      {"random { trials: 5 }", "policy_gradient {}", "policy_gradient.trials: is 0"},
      {"random { trials: 5 }", "policy_gradient { trials: 1 learning_rate: -1 }", "learning_rate"},
      {"random { trials: 5 }", "policy_gradient { trials: 1 decay: 1 }", "decay: must be below 1"},
  };
  for (const Case& one : cases) {
    const std::string text = absl::StrReplaceAll(kGood, {{one.from, one.to}});
    ASSERT_NE(text, kGood) << one.from;
    v1::SearchSpace space;
    ASSERT_TRUE(ParseTextFormat(text, "space", space).ok()) << text;
    EXPECT_THAT(ResolveSearchSpace(space), IsError(StatusCode::kInvalidArgument, one.words))
        << text;
  }
}

// Else a search whose trials are done could neither write its results nor go on.
TEST(ResolveSearchSpace, TakesNoTextThatIsNoUtf8) {
  for (const char* text : {"path: 'p' choice { values: ['M\\xfcnchen'] }",
                           "path: '\\xff' choice { values: ['1', '2'] }"}) {
    v1::SearchSpace space;
    ASSERT_THAT(ParseTextFormat(absl::StrCat("name: 's' parameters { ", text,
                                             " } objectives { quantity: BEST_SCORE "
                                             "direction: MAXIMISE } random { trials: 3 }"),
                                "space", space),
                IsOk());
    EXPECT_THAT(ResolveSearchSpace(std::move(space)),
                IsError(StatusCode::kInvalidArgument, "is not UTF-8"))
        << text;
  }
}

TEST(ResolveSearchSpace, AGridNeedsAStepForReals) {
  v1::SearchSpace space;
  ASSERT_TRUE(ParseTextFormat(absl::StrReplaceAll(kGood, {{"grid_points: 4", ""},
                                                          {"random { trials: 5 }", "grid {}"}}),
                              "space", space)
                  .ok());
  EXPECT_THAT(ResolveSearchSpace(space),
              IsError(StatusCode::kInvalidArgument, "parameters[1] (b).real.grid_points"));
}

TEST(ResolveSearchSpace, ATableOfPoliciesNeedsAFewValues) {
  const std::map<std::string, std::string> cases = {
      {"real { min: 0 max: 1 }", "parameters[0] (a).real.grid_points: policy_gradient needs it"},
      {"integer { min: 1 max: 1001 }", "policy_gradient over more than 1000 integers"},
      {"integer { min: 1 max: 1000 }", ""},
      {"integer { min: 1 max: 1001 grid_points: 10 }", ""}};
  for (const auto& [kind, words] : cases) {
    v1::SearchSpace space;
    ASSERT_TRUE(ParseTextFormat(absl::StrCat("name: 's' parameters { path: 'a' ", kind,
                                             " } objectives { quantity: BEST_SCORE direction: "
                                             "MINIMISE } policy_gradient { trials: 1 }"),
                                "space", space)
                    .ok());
    if (words.empty()) {
      EXPECT_THAT(ResolveSearchSpace(space), IsOk()) << kind;
    } else {
      EXPECT_THAT(ResolveSearchSpace(space), IsError(StatusCode::kInvalidArgument, words));
    }
  }
}

TEST(ResolveSearchSpace, AGridOfMoreThanAMillionIsRefusedBeforeItIsMade) {
  for (const char* parameters :
       {"parameters { path: 'a' integer { min: 0 max: 9000000000000000 } }",
        "parameters { path: 'a' integer { min: 1 max: 1001 } } "
        "parameters { path: 'b' integer { min: 1 max: 1000 } }"}) {
    v1::SearchSpace space;
    ASSERT_TRUE(ParseTextFormat(absl::StrCat("name: 's' ", parameters,
                                             " objectives { quantity: BEST_SCORE direction: "
                                             "MINIMISE } grid {}"),
                                "space", space)
                    .ok());
    EXPECT_THAT(ResolveSearchSpace(space), IsError(StatusCode::kInvalidArgument, "1000000"));
  }
}

TEST(LoadSearchSpace, TellsLineAndColumn) {
  const TempFolder folder;
  ASSERT_THAT(WriteFileDurably(folder.File("space"), "name: \"s\"\nparametres { }\n"), IsOk());
  EXPECT_THAT(LoadSearchSpace(folder.File("space")),
              IsError(StatusCode::kInvalidArgument, "space:2:12"));
  EXPECT_THAT(LoadSearchSpace(folder.File("none")), IsError(StatusCode::kNotFound, "none"));
}

TEST(SpaceSha256, LeavesBudgetsOut) {
  const std::string digest = SpaceSha256(SpaceOf(kGood));
  EXPECT_EQ(SpaceSha256(SpaceOf(absl::StrReplaceAll(kGood, {{"trials: 5", "trials: 50"}}))),
            digest);
  EXPECT_EQ(SpaceSha256(SpaceOf(absl::StrCat(kGood, "trials_max: 3"))), digest);
  EXPECT_NE(SpaceSha256(SpaceOf(absl::StrCat(kGood, "seed: 3"))), digest);
  const auto cma = [](const std::string& settings) {
    return SpaceSha256(SpaceOf(absl::StrReplaceAll(
        kGood, {{"random { trials: 5 }", absl::StrCat("cma_es { ", settings, " }")}})));
  };
  EXPECT_EQ(cma("generations: 1"), cma("generations: 9"));
  // A trial's generation hangs on it.
  EXPECT_NE(cma("generations: 1 population: 7"), cma("generations: 1 population: 8"));
  EXPECT_NE(SpaceSha256(SpaceOf(absl::StrReplaceAll(kGood, {{"max: 4", "max: 5"}}))), digest);
}

}  // namespace
}  // namespace consilium
