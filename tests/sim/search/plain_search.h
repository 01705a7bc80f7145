// Searches over plain functions: an algorithm is asked and told without any simulation, its results
// coming in any order.

#ifndef CONSILIUM_TESTS_SIM_SEARCH_PLAIN_SEARCH_H_
#define CONSILIUM_TESTS_SIM_SEARCH_PLAIN_SEARCH_H_

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "protocol/wire/derived_seed.h"
#include "protocol/wire/text_format.h"
#include "sim/search/algorithm.h"
#include "sim/search/space.h"

namespace consilium {

inline constexpr char kTwoReals[] = R"(
  name: "plane"
  parameters { path: "x" real { min: -2 max: 2 } }
  parameters { path: "y" real { min: -1 max: 3 } }
  objectives { quantity: BEST_SCORE direction: MINIMISE }
)";

inline v1::SearchSpace SpaceOf(const std::string& text) {
  v1::SearchSpace space;
  EXPECT_TRUE(ParseTextFormat(text, "space", space).ok()) << text;
  absl::StatusOr<v1::SearchSpace> resolved = ResolveSearchSpace(std::move(space));
  EXPECT_TRUE(resolved.ok()) << resolved.status();
  return resolved.ok() ? *std::move(resolved) : v1::SearchSpace();
}

struct Tried {
  Proposal proposal;
  double loss = 0;
};
using Loss = std::function<double(const Proposal& proposal)>;

// Keeps `in_flight` trials open and tells one of them, drawn from `seed`, at a time. Gives them in
// the order in which they were told.
inline std::vector<Tried> SearchPlainly(SearchAlgorithm& algorithm, const Loss& loss,
                                        size_t in_flight = 1, uint64_t seed = 1) {
  RandomStream random(SeedPath{seed, "order of results", ""});
  std::vector<Proposal> open;
  std::vector<Tried> tried;
  while (true) {
    while (open.size() < in_flight) {
      std::optional<Proposal> proposal = algorithm.Ask();
      if (!proposal.has_value()) break;
      open.push_back(*std::move(proposal));
    }
    if (open.empty()) return tried;
    const auto next = open.begin() + static_cast<std::ptrdiff_t>(random.NextBelow(open.size()));
    tried.push_back({*next, loss(*next)});
    open.erase(next);
    algorithm.Tell(tried.back().proposal, {tried.back().loss});
  }
}

}  // namespace consilium

#endif  // CONSILIUM_TESTS_SIM_SEARCH_PLAIN_SEARCH_H_
