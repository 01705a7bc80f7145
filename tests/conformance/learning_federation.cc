#include "tests/conformance/learning_federation.h"

#include <algorithm>

namespace consilium::federation {

LearningFederation::LearningFederation(const std::string& aggregation,
                                       const std::vector<uint64_t>& examples)
    : federation_(examples), vectors_(2) {
  federation_.StartRun(MakePlan({.aggregation = aggregation, .versions_max = 1000}));
  vectors_[VectorName::Model(Version(0))] = {0.25, -0.5};
}

void LearningFederation::Deliver(int site, uint64_t staleness, const Weights& delta) {
  const uint64_t current = federation_.run().current().value();
  const UpdateStaged update = federation_.Update(TestFederation::Site(site),
                                                 Version(current - std::min(current, staleness)));
  vectors_[VectorName::Update(update.update)] = delta;
  const std::vector<Action> actions = federation_.Step(update);
  ASSERT_EQ(Of<SendReceipt>(actions).size(), 1u) << Of<RefuseUpdate>(actions).at(0).message;
  for (const Compute& compute : Of<Compute>(actions)) {
    vectors_.Run(compute.code);
    federation_.Answer();
  }
}

}  // namespace consilium::federation
