#include "sim/search/differential_evolution.h"

#include <algorithm>
#include <utility>

#include "protocol/wire/derived_seed.h"

namespace consilium {
namespace {

constexpr size_t kParents = 4;  // x, a, b, c.

}  // namespace

EvolutionAlgorithm::EvolutionAlgorithm(const v1::SearchSpace& space)
    : space_(space), draws_(space_), population_(space.differential_evolution().population()) {}

uint64_t EvolutionAlgorithm::trials_max() const {
  return population_.size() * (uint64_t{1} + space_.differential_evolution().generations());
}

std::optional<Proposal> EvolutionAlgorithm::Ask() {
  const uint64_t trial = numbers_.Next();
  if (trial >= trials_max()) return std::nullopt;
  std::optional<Proposal> proposal;
  if (trial < population_.size()) {
    proposal = Proposal{trial, draws_.MemberAt(trial), trial, 0};
  } else {
    proposal = Offspring(trial);
  }
  if (proposal.has_value()) numbers_.Take(trial);
  return proposal;
}

std::optional<Proposal> EvolutionAlgorithm::Offspring(uint64_t trial) {
  std::vector<uint64_t> known;
  for (uint64_t i = 0; i < population_.size(); ++i) {
    if (population_[i].has_value()) known.push_back(i);
  }
  if (known.size() < kParents) return std::nullopt;
  // The places take turns; who is not known yet leaves its turn to the next.
  auto place = std::lower_bound(known.begin(), known.end(), trial % population_.size());
  if (place == known.end()) place = known.begin();
  const uint64_t parent = *place;
  known.erase(place);
  RandomStream random(SeedPath{space_.seed(), "search.offspring", "", trial});
  const auto draw = [&] {
    const auto drawn = known.begin() + static_cast<std::ptrdiff_t>(random.NextBelow(known.size()));
    const Point& point = population_[*drawn]->point;
    known.erase(drawn);
    return &point;
  };
  const Point& a = *draw();
  const Point& b = *draw();
  const Point& c = *draw();
  const v1::DifferentialEvolution& settings = space_.differential_evolution();
  Proposal proposal{trial, population_[parent]->point, parent, 0};
  const uint64_t always = random.NextBelow(a.size());
  for (size_t j = 0; j < a.size(); ++j) {
    const bool crosses = random.NextUnit() < settings.crossover();
    if (!crosses && j != always) continue;
    double mutant = a[j] + settings.mutation() * (b[j] - c[j]);
    if (mutant < 0) mutant = a[j] * random.NextUnit();
    if (mutant > 1) mutant = a[j] + (1 - a[j]) * random.NextUnit();
    proposal.point[j] = mutant;
  }
  return proposal;
}

void EvolutionAlgorithm::Tell(const Proposal& proposal, const std::vector<double>& losses) {
  numbers_.Take(proposal.trial);
  if (proposal.slot >= population_.size()) return;
  std::optional<Member>& member = population_[proposal.slot];
  if (!member.has_value() || losses[0] <= member->loss) {
    member = Member{proposal.point, losses[0]};
  }
}

}  // namespace consilium
