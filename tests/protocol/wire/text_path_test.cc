#include "protocol/wire/text_path.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "consilium/v1/run_config.pb.h"
#include "consilium/v1/scenario.pb.h"
#include "protocol/wire/text_format.h"
#include "tests/fakes/status_matchers.h"

namespace consilium {
namespace {

using absl::StatusCode;

constexpr char kSpec[] = R"(
  layers { name: "one" linear { units: "3" } }
  layers { name: "drop" dropout { probability: 0.1 } }
  layers { name: "two" linear { units: "1" bias: true } }
  layers { name: "drop2" dropout { probability: 0.2 } }
)";

v1::ModelSpec Spec() {
  v1::ModelSpec spec;
  EXPECT_TRUE(ParseTextFormat(kSpec, "spec", spec).ok());
  return spec;
}

TEST(SetByPath, SetsAFieldAndLeavesTheOthers) {
  v1::RunConfig config;
  ASSERT_TRUE(
      ParseTextFormat("training { local_steps: 3 batch_examples: 8 } seed: 4", "c", config).ok());
  ASSERT_THAT(SetByPath("training.local_steps=10", config), IsOk());
  ASSERT_THAT(SetByPath("training.optimizer={ sgd { learning_rate: 0.25 } }", config), IsOk());
  ASSERT_THAT(SetByPath("training.optimizer.sgd.momentum=0.5", config), IsOk());
  ASSERT_THAT(SetByPath("aggregation.preset=FEDBUFF", config), IsOk());
  EXPECT_EQ(config.training().local_steps(), 10U);
  EXPECT_EQ(config.training().batch_examples(), 8U);
  EXPECT_EQ(config.training().optimizer().sgd().learning_rate(), 0.25);
  EXPECT_EQ(config.training().optimizer().sgd().momentum(), 0.5);
  EXPECT_EQ(config.aggregation().preset(), v1::AggregationConfig::FEDBUFF);
  EXPECT_EQ(config.seed(), 4U);
}

TEST(SetByPath, SetsAMapsEntryByItsKey) {
  v1::RunConfig config;
  ASSERT_TRUE(ParseTextFormat("model { parameters { key: \"units\" value: 4 } "
                              "parameters { key: \"depth\" value: 2 } }",
                              "c", config)
                  .ok());
  ASSERT_THAT(SetByPath("model.parameters.units=32", config), IsOk());
  ASSERT_THAT(SetByPath("model.parameters.width=7", config), IsOk());
  const auto& parameters = config.model().parameters();
  EXPECT_EQ(parameters.size(), 3U);
  EXPECT_EQ(parameters.at("units"), 32);
  EXPECT_EQ(parameters.at("width"), 7);
  EXPECT_EQ(parameters.at("depth"), 2);
}

TEST(SetByPath, SetsElementsByIndexByNameOrAllThatHaveTheField) {
  v1::ModelSpec spec = Spec();
  ASSERT_THAT(SetByPath("layers.0.linear.units=\"9\"", spec), IsOk());
  ASSERT_THAT(SetByPath("layers.drop2.dropout.probability=0.75", spec), IsOk());
  EXPECT_EQ(spec.layers(0).linear().units(), "9");
  EXPECT_EQ(spec.layers(2).linear().units(), "1");
  EXPECT_EQ(spec.layers(1).dropout().probability(), 0.1);
  EXPECT_EQ(spec.layers(3).dropout().probability(), 0.75);
  ASSERT_THAT(SetByPath("layers.*.dropout.probability=0.5", spec), IsOk());
  EXPECT_EQ(spec.layers(1).dropout().probability(), 0.5);
  EXPECT_EQ(spec.layers(3).dropout().probability(), 0.5);
  EXPECT_TRUE(spec.layers(0).has_linear());
  EXPECT_TRUE(spec.layers(2).has_linear());

  v1::Scenario scenario;
  ASSERT_TRUE(ParseTextFormat("sites { overrides { site_id: 'a' } overrides { site_id: 'b' } }",
                              "s", scenario)
                  .ok());
  ASSERT_THAT(SetByPath("sites.overrides.b.slowdown=4", scenario), IsOk());
  EXPECT_EQ(scenario.sites().overrides(0).slowdown(), 0);
  EXPECT_EQ(scenario.sites().overrides(1).slowdown(), 4);
}

// A value with braces, which ends its own field and goes on with others.
TEST(SetByPath, SetsNothingBesideItsPath) {
  v1::RunConfig config;
  ASSERT_TRUE(ParseTextFormat("seed: 4 training { local_steps: 3 } aggregation { mixing_alpha: .5 "
                              "} model { parameters { key: 'units' value: 4 } } participation {}",
                              "c", config)
                  .ok());
  const std::string before = config.SerializeAsString();
  for (const char* assignment :
       {"aggregation.preset=FEDAVG } stop { versions_max: 1", "seed=5 stop { versions_max: 1 }",
        "aggregation.preset=FEDAVG transform { zeno { validator: 'a' } }",
        "aggregation.preset=FEDAVG, mixing_alpha: 0", "aggregation.preset=FEDAVG; mixing_alpha: 0",
        "aggregation.preset=FEDAVG preset: FEDBUFF", "training={ local_steps: 5 } seed: 5",
        "training={ local_steps: 5 } stop: { versions_max: 1 }", "seed: 5 training.local_steps=7",
        "training { local_steps: 7 } seed=5", "participation.sites='a' sites_min: 2",
        "model.parameters.units=5 } parameters { key: 'width' value: 7",
        "model.parameters.units=5 key: 'width'", "model.parameters.units=5 } spec_file: 'x' ",
        "model.parameters.units=5 } } stop { versions_max: 1", "seed=5 }", "seed=5 } # "}) {
    EXPECT_THAT(SetByPath(assignment, config), IsError(StatusCode::kInvalidArgument, assignment));
    EXPECT_EQ(config.SerializeAsString(), before) << assignment;
  }
  EXPECT_THAT(SetByPath("seed=5 stop { versions_max: 1 }", config),
              IsError(StatusCode::kInvalidArgument, "more than the path names, of stop"));

  // What belongs to the path may have them, too.
  for (const char* assignment :
       {"training={ local_steps: 5 optimizer { sgd { learning_rate: 0.5 } } }",
        "training.optimizer=<sgd <momentum: 0.25>>", "participation.sites=['a}', '{b']",
        "aggregation={ mixing_alpha: 0 trigger { barrier {} } }", "stop { versions_max=3"}) {
    const bool is_path = std::string(assignment).find("stop {") == std::string::npos;
    EXPECT_EQ(SetByPath(assignment, config).ok(), is_path) << assignment;
  }
  EXPECT_EQ(config.training().local_steps(), 5U);
  EXPECT_EQ(config.training().optimizer().sgd().learning_rate(), 0.5);
  EXPECT_EQ(config.training().optimizer().sgd().momentum(), 0.25);
  EXPECT_EQ(config.aggregation().mixing_alpha(), 0);
  EXPECT_EQ(config.participation().sites_size(), 2);
}

TEST(SetByPath, RefusesWhatIsNotThere) {
  v1::RunConfig config;
  for (const std::string& assignment : std::vector<std::string>{"training", "=3", ""}) {
    EXPECT_THAT(SetByPath(assignment, config),
                IsError(StatusCode::kInvalidArgument, "write path=value"));
  }
  EXPECT_THAT(SetByPath("training.lokal_steps=1", config),
              IsError(StatusCode::kInvalidArgument, "lokal_steps"));
  EXPECT_THAT(SetByPath("trainink.local_steps=1", config),
              IsError(StatusCode::kInvalidArgument, "trainink"));
  EXPECT_THAT(SetByPath("training.local_steps=0.5", config),
              IsError(StatusCode::kInvalidArgument, "training.local_steps=0.5"));
  EXPECT_THAT(SetByPath("training.local_steps.more=1", config),
              IsError(StatusCode::kInvalidArgument, "training.local_steps.more=1"));
  std::string deep = "training";
  for (int i = 0; i < 40; ++i) deep += ".training";
  EXPECT_THAT(SetByPath(deep + "=1", config), IsError(StatusCode::kInvalidArgument, "32 steps"));

  v1::ModelSpec spec = Spec();
  EXPECT_THAT(SetByPath("layers.drop3.dropout.probability=0", spec),
              IsError(StatusCode::kInvalidArgument, "layers has no element 'drop3'"));
  EXPECT_THAT(SetByPath("layers.4.dropout.probability=0", spec),
              IsError(StatusCode::kInvalidArgument, "layers has no element '4'"));
  EXPECT_THAT(SetByPath("layers.*.conv.channels=\"1\"", spec),
              IsError(StatusCode::kInvalidArgument, "no element of layers has conv"));
  EXPECT_THAT(SetByPath("layers.drop={ }", spec),
              IsError(StatusCode::kInvalidArgument, "name a field of layers.drop"));
}

}  // namespace
}  // namespace consilium
