#include "sim/search/search_files.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "protocol/core/files.h"
#include "tests/fakes/status_matchers.h"
#include "tests/fakes/temp_folder.h"
#include "tests/sim/search/plain_search.h"

namespace consilium {
namespace {

using absl::StatusCode;

struct FilesTest : testing::Test {
  TempFolder folder;
  SearchFilesOptions options = {folder.File("run"), folder.File("scenario"), {}};

  void SetUp() override {
    ASSERT_THAT(WriteFileDurably(folder.File("run"),
                                 "name: 'r' model { spec_file: 'spec' } "
                                 "training { optimizer { sgd { learning_rate: 1 } } }"),
                IsOk());
    ASSERT_THAT(WriteFileDurably(folder.File("scenario"), "name: 's' sites { task_ms: 5 }"),
                IsOk());
    ASSERT_THAT(WriteFileDurably(folder.File("spec"), "name: 'm' layers { name: 'd' dropout {} }"),
                IsOk());
  }

  static v1::SearchSpace Space(const std::string& parameters) {
    return SpaceOf(
        "name: 's' random { trials: 1 } objectives { quantity: BEST_SCORE direction: "
        "MINIMISE } " +
        parameters);
  }
  absl::StatusOr<TrialsLog::Identity> Check(const std::string& parameters) const {
    return CheckSearchFiles(Space(parameters), options);
  }
};

constexpr char kAll[] = R"(
  parameters { path: "training.optimizer.sgd.learning_rate" real { min: 0.1 max: 1 } }
  parameters { path: "model.parameters.units" integer { min: 1 max: 4 } }
  parameters { path: "spec.layers.d.dropout.probability" real { min: 0 max: 0.5 } }
  parameters { path: "scenario.sites.task_ms" integer { min: 1 max: 1000 } }
  parameters {
    path: "training.optimizer"
    choice { values: ["{ sgd { learning_rate: 1 } }", "{ adam { learning_rate: 1 } }"] }
  }
)";

TEST_F(FilesTest, TakesPathsOfAllThreeFiles) { EXPECT_THAT(Check(kAll), IsOk()); }

TEST_F(FilesTest, NamesTheParameterThatSetsNothing) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"parameters { path: 'training.rate' real { min: 0 max: 1 } }", "(training.rate)"},
      {"parameters { path: 'training.local_steps' real { min: 1 max: 1.5 } }",
       "(training.local_steps)"},
      {"parameters { path: 'aggregation.preset' choice { values: ['FEDAVG', 'FEDSGD'] } }",
       "FEDSGD"},
      {"parameters { path: 'spec.layers.e.dropout.probability' real { min: 0 max: 1 } }",
       "layers has no element 'e'"},
      {"parameters { path: 'scenario.sites.tasks' integer { min: 0 max: 1 } }",
       "(scenario.sites.tasks)"},
  };
  for (const auto& [parameters, words] : cases) {
    EXPECT_THAT(Check(parameters), IsError(StatusCode::kInvalidArgument, words));
  }
}

TEST_F(FilesTest, AnOverrideMustNotSetWhatIsSearched) {
  options.overrides = {"training.local_steps=4"};
  EXPECT_THAT(Check("parameters { path: 'training.local_steps' integer { min: 1 max: 9 } }"),
              IsError(StatusCode::kInvalidArgument, "--set training.local_steps=4"));
  EXPECT_THAT(Check(kAll), IsOk());
  options.overrides = {"stop.versions_max=4"};
  EXPECT_THAT(CheckSearchFiles(
                  SpaceOf(std::string(kTwoReals) + "successive_halving { trials: 9 versions_min: 1 "
                                                   "versions_max: 9 }"),
                  options),
              IsError(StatusCode::kInvalidArgument, "--set stop.versions_max=4"));
  // Rungs of time leave versions to who searches.
  const std::string timed =
      "name: 'timed' parameters { path: 'training.local_steps' integer { min: 1 max: 9 } } "
      "objectives { quantity: BEST_SCORE direction: MINIMISE } "
      "successive_halving { trials: 9 virtual_ms_min: 1 virtual_ms_max: 9 }";
  EXPECT_THAT(CheckSearchFiles(SpaceOf(timed), options), IsOk());
  options.overrides = {"scenario.stopped_after_ms=4"};
  EXPECT_THAT(CheckSearchFiles(SpaceOf(timed), options),
              IsError(StatusCode::kInvalidArgument, "--set scenario.stopped_after_ms=4"));
}

TEST_F(FilesTest, WhereTheSpecIsSearchedItsPathsAreLeftToTheTrials) {
  const char parameters[] =
      "parameters { path: 'model.spec_file' choice { values: ['\"spec\"', '\"b\"'] } } "
      "parameters { path: 'spec.layers.e.dropout.probability' real { min: 0 max: 1 } }";
  EXPECT_THAT(Check(parameters), IsError(StatusCode::kNotFound, "/b"));
  ASSERT_THAT(WriteFileDurably(folder.File("b"), "name: 'b'"), IsOk());
  const auto before = Check(parameters);
  ASSERT_THAT(before, IsOk());
  ASSERT_THAT(WriteFileDurably(folder.File("b"), "name: 'c'"), IsOk());
  EXPECT_NE(Check(parameters)->at("model spec"), before->at("model spec"));
}

TEST_F(FilesTest, TheIdentityTellsWhatDiffers) {
  const auto before = Check(kAll);
  ASSERT_THAT(before, IsOk());
  const auto changed = [&](const std::string& file, const std::string& text) {
    EXPECT_THAT(WriteFileDurably(folder.File(file), text), IsOk());
    const auto after = Check(kAll);
    EXPECT_THAT(after, IsOk());
    std::vector<std::string> parts;
    for (const auto& [part, digest] : *after) {
      if (before->at(part) != digest) parts.push_back(part);
    }
    SetUp();
    return parts;
  };
  using Parts = std::vector<std::string>;
  EXPECT_EQ(changed("scenario", "# A comment.\nname: 's' sites { task_ms: 5 }"), Parts());
  EXPECT_EQ(changed("scenario", "name: 's' sites { task_ms: 6 }"), Parts({"scenario"}));
  EXPECT_EQ(changed("spec", "name: 'n' layers { name: 'd' dropout {} }"), Parts({"model spec"}));
  EXPECT_EQ(changed("run", "name: 'r' model { spec_file: 'spec' } seed: 2"), Parts({"run config"}));
  options.overrides = {"seed=5"};
  EXPECT_NE(Check(kAll)->at("run config"), before->at("run config"));
}

}  // namespace
}  // namespace consilium
