#include "tests/conformance/learning_federation.h"

#include <algorithm>

#include "aggregator/merge/run_program.h"

namespace consilium::federation {

LearningFederation::LearningFederation(const std::string& aggregation,
                                       const std::vector<uint64_t>& examples)
    : federation_(examples), vectors_(2), store_(2) {
  std::string config;
  if (aggregation.find("FEDPROX") != std::string::npos) config = "training { proximal_mu: 0.1 }";
  federation_.StartRun(
      MakePlan({.aggregation = aggregation, .config = config, .versions_max = 1000}));
  vectors_[VectorName::Model(Version(0))] = {0.25, -0.5};
  EXPECT_TRUE(store_.Put(VectorName::Model(Version(0)), {0.25F, -0.5F}).ok());
}

void LearningFederation::Deliver(int site, uint64_t staleness, const Weights& delta,
                                 uint32_t steps) {
  const uint64_t current = federation_.run().current().value();
  UpdateStaged update = federation_.Update(TestFederation::Site(site),
                                           Version(current - std::min(current, staleness)));
  update.steps = steps;
  vectors_[VectorName::Update(update.update)] = delta;
  ASSERT_TRUE(store_
                  .Put(VectorName::Update(update.update),
                       {static_cast<float>(delta[0]), static_cast<float>(delta[1])})
                  .ok());
  const std::vector<Action> actions = federation_.Step(update);
  ASSERT_EQ(Of<SendReceipt>(actions).size(), 1u) << Of<RefuseUpdate>(actions).at(0).message;
  Compute(actions);
}

void LearningFederation::Compute(const std::vector<Action>& actions) {
  for (const federation::Compute& compute : Of<federation::Compute>(actions)) {
    vectors_.Run(compute.code);
    const auto result = RunProgram(compute.code, store_, nullptr);
    ASSERT_TRUE(result.ok()) << result.status();
    ASSERT_TRUE(store_.SwitchState(Version(compute.code.result.number)).ok());
    federation_.Answer();
  }
}

Weights LearningFederation::produced(const VectorName& name) const {
  const auto values = store_.Get(name);
  if (!values.ok()) return {};
  return Weights((*values)->begin(), (*values)->end());
}

}  // namespace consilium::federation
