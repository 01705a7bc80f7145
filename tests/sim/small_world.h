// A federation that runs in milliseconds: a logistic regression over hospitals of a few dozen made
// patients, for what is tested of the simulator besides learning.

#ifndef CONSILIUM_TESTS_SIM_SMALL_WORLD_H_
#define CONSILIUM_TESTS_SIM_SMALL_WORLD_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "models/spec/run_plan.h"
#include "protocol/wire/derived_seed.h"
#include "protocol/wire/text_format.h"
#include "sim/engine/simulation.h"
#include "site_agent/ingest/split.h"
#include "site_agent/train/cpu_trainer.h"

namespace consilium {

struct SmallWorldOptions {
  size_t sites = 6;
  size_t rows_per_site = 60;
  std::string config = "";    // Text format of RunConfig, over the one below.
  std::string scenario = "";  // Text format of Scenario.
  std::string spec = "";      // Text format of ModelSpec, after the layer below.
};

inline constexpr char kSmallPlanText[] = R"(
  config {
    name: "small"
    model { spec_file: "m" }
    data { contract_file: "c" split { validation: 0.2 test: 0.2 } }
    training {
      optimizer { sgd { learning_rate: 0.5 } } batch_examples: 8 local_steps: 5
      task_duration_min_ms: 1000
    }
    aggregation { preset: FEDBUFF trigger { buffer { updates: 3 } } }
    stop { versions_max: 6 }
    seed: 1
  }
  spec {
    name: "logistic"
    parameters { name: "features" }
    input_shape: "features"
    layers { name: "logit" linear { units: "1" } }
    loss { kind: BCE_WITH_LOGITS }
  }
  contract {
    name: "table"
    columns { name: "x" number { min: 0 max: 1 } }
    columns { name: "y" number { min: 0 max: 1 } }
    columns { name: "mark" number { min: 0 max: 1 } }
    label { column: "sick" binary { positive: "yes" negative: "no" } }
  }
)";

struct SmallWorld {
  v1::RunPlan plan;
  v1::Scenario scenario;
  FederationData data;
  CpuTrainer trainer;

  explicit SmallWorld(const SmallWorldOptions& options) {
    v1::RunPlan text;
    EXPECT_TRUE(ParseTextFormat(kSmallPlanText, "plan", text).ok());
    EXPECT_TRUE(MergeTextFormat(options.config, "config", *text.mutable_config()).ok());
    EXPECT_TRUE(MergeTextFormat(options.spec, "spec", *text.mutable_spec()).ok());
    absl::StatusOr<v1::RunPlan> resolved = ResolvePlan(std::move(text));
    EXPECT_TRUE(resolved.ok()) << resolved.status();
    if (resolved.ok()) plan = *std::move(resolved);
    EXPECT_TRUE(ParseTextFormat(options.scenario, "scenario", scenario).ok());
    for (size_t i = 0; i < options.sites; ++i) AddSite(i, options.rows_per_site);
  }

  // Patients are sick where x + y is above 1, and never marked.
  void AddSite(size_t index, size_t rows) {
    const SiteId site(absl::StrCat("s", index));
    RandomStream random(SeedPath{7, "small world", site.value()});
    SiteData& made = data[site];
    for (size_t i = 0; i < rows; ++i) {
      const double x = random.NextUnit();
      const double y = random.NextUnit();
      made.rows.push_back({{x, y, 0}, x + y > 1 ? 1.0 : 0.0, absl::StrCat("p", i)});
    }
    const auto parts =
        AssignSplit(plan.config().data().split(), plan.contract().label(), made.rows);
    EXPECT_TRUE(parts.ok()) << parts.status();
    made.parts = *parts;
  }

  absl::StatusOr<std::unique_ptr<Simulation>> Create() {
    SimulationInput input;
    input.plan = plan;
    input.scenario = scenario;
    input.data = &data;
    input.trainer = &trainer;
    return Simulation::Create(std::move(input));
  }

  std::unique_ptr<Simulation> Run() {
    absl::StatusOr<std::unique_ptr<Simulation>> simulation = Create();
    EXPECT_TRUE(simulation.ok()) << simulation.status();
    if (!simulation.ok()) return nullptr;
    const absl::Status status = (*simulation)->Run();
    EXPECT_TRUE(status.ok()) << status;
    return *std::move(simulation);
  }
};

inline std::vector<Digest> ModelIds(const Simulation& simulation) {
  std::vector<Digest> ids;
  for (const auto& version : simulation.run().versions) ids.push_back(version.model_id);
  return ids;
}

}  // namespace consilium

#endif  // CONSILIUM_TESTS_SIM_SMALL_WORLD_H_
