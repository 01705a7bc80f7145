// The engine with models of two weights behind it: every program is run at once by NaiveVectors,
// and beside it by RunProgram.

#ifndef CONSILIUM_TESTS_CONFORMANCE_LEARNING_FEDERATION_H_
#define CONSILIUM_TESTS_CONFORMANCE_LEARNING_FEDERATION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "aggregator/merge/memory_vector_store.h"
#include "tests/aggregator/core/federation_fixture.h"
#include "tests/conformance/naive_vectors.h"

namespace consilium::federation {

using Weights = std::vector<double>;

class LearningFederation {
 public:
  // A run with `aggregation` (text format) over sites of so many examples each; version 0 is
  // {0.25, -0.5}.
  LearningFederation(const std::string& aggregation, const std::vector<uint64_t>& examples);

  // Stages an update of site number `site` that is `staleness` versions old (at most as many as
  // there are) and took `steps` local steps of the plan's 3, and runs what the engine asks for.
  void Deliver(int site, uint64_t staleness, const Weights& delta, uint32_t steps = 3);
  // Runs what the engine asked for in answer to a step of the test's own.
  void Compute(const std::vector<Action>& actions);

  // The current version's weights, its contributions, and the coefficient on the update that was
  // delivered as number `index` (from 0) among its new ones.
  const Weights& weights() { return vectors_[VectorName::Model(federation_.run().current())]; }
  const Weights& weights(Version version) { return vectors_[VectorName::Model(version)]; }
  const Weights& vector(const VectorName& name) { return vectors_[name]; }
  // The same as RunProgram made them.
  Weights produced(Version version) const { return produced(VectorName::Model(version)); }
  Weights produced(const VectorName& name) const;
  const VersionState& version() const { return federation_.run().versions.back(); }
  double coefficient(size_t index) const { return version().contributions.at(index).coefficient; }
  TestFederation& federation() { return federation_; }

 private:
  TestFederation federation_;
  NaiveVectors vectors_;
  MemoryVectorStore store_;
};

}  // namespace consilium::federation

#endif  // CONSILIUM_TESTS_CONFORMANCE_LEARNING_FEDERATION_H_
