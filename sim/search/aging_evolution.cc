#include "sim/search/aging_evolution.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace consilium {
namespace {

// Deviation of a number's steps, as a part of its range.
constexpr double kStep = 0.1;
// Steps that leave the text as it is, before it is drawn from the whole range instead; and draws of
// that, after which the child is as its parent, and known.
constexpr int kStepsMax = 100;

double AnotherChoice(const v1::Choice& choice, double coordinate, RandomStream& random) {
  const auto count = static_cast<uint64_t>(choice.values_size());
  const uint64_t present =
      std::min(count - 1, static_cast<uint64_t>(coordinate * static_cast<double>(count)));
  const uint64_t other = (present + 1 + random.NextBelow(count - 1)) % count;
  return (static_cast<double>(other) + 0.5) / static_cast<double>(count);
}

double AnotherNumber(const v1::SearchParameter& parameter, double coordinate,
                     RandomStream& random) {
  const std::string text = TextAt(parameter, coordinate);
  double other = coordinate;
  for (int step = 0; step < 2 * kStepsMax && TextAt(parameter, other) == text; ++step) {
    other = step < kStepsMax ? coordinate + kStep * random.NextNormal() : random.NextUnit();
    if (other < 0 || other > 1) other = coordinate;
  }
  return other;
}

}  // namespace

AgingEvolutionAlgorithm::AgingEvolutionAlgorithm(const v1::SearchSpace& space)
    : space_(space), draws_(space_) {
  for (int i = 0; i < space_.parameters_size(); ++i) {
    const v1::SearchParameter& parameter = space_.parameters(i);
    if (TextAt(parameter, 0) != TextAt(parameter, 1)) mutable_.push_back(static_cast<size_t>(i));
  }
}

std::optional<Proposal> AgingEvolutionAlgorithm::Ask() {
  const uint64_t trial = numbers_.Next();
  if (trial >= trials_max()) return std::nullopt;
  Proposal proposal{trial, {}, 0, 0};
  if (trial < space_.aging_evolution().population()) {
    proposal.point = draws_.MemberAt(trial);
  } else if (population_.size() < space_.aging_evolution().sample()) {
    return std::nullopt;
  } else {
    RandomStream random(SeedPath{space_.seed(), "search.mutation", "", trial});
    proposal.point = Parent(random);
    Mutate(random, proposal.point);
  }
  numbers_.Take(trial);
  return proposal;
}

const Point& AgingEvolutionAlgorithm::Parent(RandomStream& random) const {
  const Member* best = nullptr;
  for (uint32_t i = 0; i < space_.aging_evolution().sample(); ++i) {
    const Member& candidate = population_[random.NextBelow(population_.size())];
    if (best == nullptr || candidate.loss < best->loss) best = &candidate;
  }
  return best->point;
}

void AgingEvolutionAlgorithm::Mutate(RandomStream& random, Point& point) const {
  if (mutable_.empty()) return;
  const size_t chosen = mutable_[random.NextBelow(mutable_.size())];
  const v1::SearchParameter& parameter = space_.parameters(static_cast<int>(chosen));
  double& coordinate = point[chosen];
  coordinate = parameter.has_choice() ? AnotherChoice(parameter.choice(), coordinate, random)
                                      : AnotherNumber(parameter, coordinate, random);
}

void AgingEvolutionAlgorithm::Tell(const Proposal& proposal, const std::vector<double>& losses) {
  numbers_.Take(proposal.trial);
  population_.push_back({proposal.point, losses[0]});
  if (population_.size() > space_.aging_evolution().population()) population_.pop_front();
}

}  // namespace consilium
