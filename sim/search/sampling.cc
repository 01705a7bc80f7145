#include "sim/search/sampling.h"

#include <utility>

#include "protocol/wire/derived_seed.h"

namespace consilium {
namespace {

constexpr int kKnownDrawsMax = 1000;

}  // namespace

void TrialNumbers::Take(uint64_t number) {
  if (number < first_free_) return;
  taken_.insert(number);
  while (taken_.erase(first_free_) == 1) ++first_free_;
}

std::optional<Point> DistinctDraws::At(uint64_t index) {
  int known = 0;
  while (points_.size() <= index) {
    RandomStream random(SeedPath{space_.seed(), "search.draw", "", draws_++});
    Point point;
    for (int i = 0; i < space_.parameters_size(); ++i) point.push_back(random.NextUnit());
    if (keys_.insert(KeyOf(TextsAt(space_, point))).second) {
      points_.push_back(std::move(point));
      known = 0;
    } else if (++known == kKnownDrawsMax) {
      return std::nullopt;
    }
  }
  return points_[index];
}

Point DistinctDraws::MemberAt(uint64_t index) {
  if (std::optional<Point> drawn = At(index)) return *std::move(drawn);
  RandomStream random(SeedPath{space_.seed(), "search.member", "", index});
  Point point;
  for (int i = 0; i < space_.parameters_size(); ++i) point.push_back(random.NextUnit());
  return point;
}

GridAlgorithm::GridAlgorithm(const v1::SearchSpace& space) {
  for (const v1::SearchParameter& parameter : space.parameters()) {
    axes_.push_back(GridCoordinates(parameter));
    size_ *= axes_.back().size();
  }
}

std::optional<Proposal> GridAlgorithm::Ask() {
  Proposal proposal;
  proposal.trial = numbers_.Next();
  if (proposal.trial >= size_) return std::nullopt;
  numbers_.Take(proposal.trial);
  uint64_t rest = proposal.trial;
  proposal.point.resize(axes_.size());
  for (size_t axis = axes_.size(); axis-- > 0;) {
    proposal.point[axis] = axes_[axis][rest % axes_[axis].size()];
    rest /= axes_[axis].size();
  }
  return proposal;
}

void GridAlgorithm::Tell(const Proposal& proposal, const std::vector<double>& losses) {
  static_cast<void>(losses);
  numbers_.Take(proposal.trial);
}

RandomAlgorithm::RandomAlgorithm(const v1::SearchSpace& space) : space_(space), draws_(space_) {}

std::optional<Proposal> RandomAlgorithm::Ask() {
  Proposal proposal;
  proposal.trial = numbers_.Next();
  if (proposal.trial >= trials_max()) return std::nullopt;
  std::optional<Point> point = draws_.At(proposal.trial);
  if (!point.has_value()) return std::nullopt;
  proposal.point = *std::move(point);
  numbers_.Take(proposal.trial);
  return proposal;
}

void RandomAlgorithm::Tell(const Proposal& proposal, const std::vector<double>& losses) {
  static_cast<void>(losses);
  numbers_.Take(proposal.trial);
}

}  // namespace consilium
