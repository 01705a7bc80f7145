#include "sim/commands/kept_stages.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "protocol/wire/text_format.h"
#include "tests/fakes/status_matchers.h"
#include "tests/sim/search/plain_search.h"

namespace consilium {
namespace {

using Strings = std::vector<std::string>;

v1::RunConfig File() {
  v1::RunConfig file;
  EXPECT_THAT(ParseTextFormat("aggregation { preset: STALENESS_WEIGHTED_TABLE "
                              "trigger { buffer { updates: 2 } } server { sgd {} } limits {} }",
                              "config", file),
              IsOk());
  return file;
}

v1::SearchSpace Space(const std::string& parameters) {
  return SpaceOf(absl::StrCat(
      "name: 's' objectives { quantity: BEST_SCORE direction: MINIMISE } random { trials: 1 } ",
      parameters));
}

TEST(StagesKeptFrom, NamesWhatAnotherPresetWouldNotHave) {
  const v1::RunConfig file = File();
  EXPECT_EQ(StagesKeptFrom(file, {}), Strings());
  EXPECT_EQ(StagesKeptFrom(file, {"aggregation.trigger.buffer.updates=3"}), Strings());
  EXPECT_EQ(StagesKeptFrom(file, {"aggregation.preset=STALENESS_WEIGHTED_TABLE"}), Strings());
  EXPECT_EQ(StagesKeptFrom(file, {"aggregation.preset=FEDBUFF"}),
            Strings({"aggregation.trigger", "aggregation.server"}));
  EXPECT_EQ(
      StagesKeptFrom(file, {"aggregation.trigger.buffer.updates=10", "aggregation.preset=FEDBUFF"}),
      Strings({"aggregation.server"}));
  // As blocks, too.
  EXPECT_EQ(StagesKeptFrom(file, {"aggregation={ preset: FEDBUFF }"}),
            Strings({"aggregation.trigger", "aggregation.server"}));
  EXPECT_EQ(StagesKeptFrom(file, {"aggregation={ preset: FEDBUFF server { adam {} } }",
                                  "aggregation.trigger={ buffer { updates: 10 } }"}),
            Strings());
  EXPECT_EQ(StagesKeptFrom(file, {"aggregation={ preset: STALENESS_WEIGHTED_TABLE }"}), Strings());
  EXPECT_EQ(StagesKeptFrom(file, {"aggregation.preset=NO_SUCH_RULE", "seed=1"}), Strings());
  v1::RunConfig drawn;
  drawn.mutable_aggregation()->mutable_concurrency()->set_sites_max(2);
  EXPECT_EQ(StagesKeptFrom(drawn, {"aggregation.preset=FEDAVG"}),
            Strings({"aggregation.concurrency"}));
  EXPECT_EQ(
      StagesKeptFrom(drawn, {"aggregation.preset=ACE", "aggregation.concurrency.sites_max=3"}),
      Strings());
}

TEST(LiveShareKeptBesideK, WhereTheConfigHasOneAndAKIsGivenAlone) {
  const std::string k = "aggregation.trigger.buffer.updates=3";
  const std::string share = "aggregation.trigger.buffer.live_share_min=0.25";
  v1::RunConfig config;
  EXPECT_FALSE(LiveShareKeptBesideK(config, {k}));
  config.mutable_aggregation()->mutable_trigger()->mutable_buffer()->set_live_share_min(0.5);
  EXPECT_TRUE(LiveShareKeptBesideK(config, {k}));
  EXPECT_TRUE(LiveShareKeptBesideK(config, {"aggregation.trigger={ buffer { updates: 3 } }"}));
  // Who names it has it; who gives no K has said nothing of it.
  EXPECT_FALSE(LiveShareKeptBesideK(config, {k, share}));
  EXPECT_FALSE(LiveShareKeptBesideK(config, {"aggregation.trigger.buffer.updates=0"}));
  EXPECT_FALSE(LiveShareKeptBesideK(config, {"aggregation.preset=ADAPTIVE", "seed=3"}));
  // Another trigger has neither.
  EXPECT_FALSE(LiveShareKeptBesideK(config, {k, "aggregation.trigger.barrier={}"}));
  config.mutable_aggregation()->mutable_trigger()->mutable_buffer()->set_live_share_min(0);
  EXPECT_FALSE(LiveShareKeptBesideK(config, {k}));
}

TEST(StagesKeptWhereSearched, OfAnyPresetThatIsTried) {
  const v1::RunConfig file = File();
  const std::string presets =
      "parameters { path: 'aggregation.preset' "
      "choice { values: ['STALENESS_WEIGHTED_TABLE', 'FEDBUFF'] } } ";
  EXPECT_EQ(StagesKeptWhereSearched(file, {}, Space(presets)),
            Strings({"aggregation.server", "aggregation.trigger"}));
  // What is searched, or given, is nobody's leftover.
  EXPECT_EQ(StagesKeptWhereSearched(
                file, {"aggregation.server={ sgd { learning_rate: 1 } }"},
                Space(presets + "parameters { path: 'aggregation.trigger.buffer.updates' "
                                "integer { min: 1 max: 4 } }")),
            Strings());
  EXPECT_EQ(StagesKeptWhereSearched(
                file, {},
                Space("parameters { path: 'aggregation' choice { values: "
                      "['{ preset: FEDBUFF trigger { buffer {} } }', '{ limits {} }'] } }")),
            Strings({"aggregation.server"}));
  const std::string other = "parameters { path: 'seed' integer { min: 1 max: 4 } }";
  EXPECT_EQ(StagesKeptWhereSearched(file, {}, Space(other)), Strings());
  EXPECT_EQ(StagesKeptWhereSearched(file, {"aggregation.preset=FEDBUFF"}, Space(other)),
            Strings({"aggregation.server", "aggregation.trigger"}));
}

}  // namespace
}  // namespace consilium
