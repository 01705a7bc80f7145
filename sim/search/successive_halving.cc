#include "sim/search/successive_halving.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace consilium {

HalvingAlgorithm::HalvingAlgorithm(const v1::SearchSpace& space) : space_(space), draws_(space_) {
  const v1::SuccessiveHalving& settings = space_.successive_halving();
  const bool timed = settings.virtual_ms_max() > 0;
  const uint64_t most = timed ? settings.virtual_ms_max() : settings.versions_max();
  uint64_t end = RungEndAt(space_, 0)->value;
  do {
    rungs_.emplace_back();
    end *= settings.reduction();
  } while (end <= most);
}

uint64_t HalvingAlgorithm::trials_max() const {
  uint64_t trials = 0;
  uint64_t at_rung = space_.successive_halving().trials();
  for (size_t i = 0; i < rungs_.size(); ++i) {
    trials += at_rung;
    at_rung /= space_.successive_halving().reduction();
  }
  return trials;
}

std::optional<uint64_t> HalvingAlgorithm::Promotable(const Rung& rung) const {
  std::vector<std::pair<double, uint64_t>> best;
  for (const auto& [draw, loss] : rung.losses) best.emplace_back(loss, draw);
  const size_t kept = best.size() / space_.successive_halving().reduction();
  std::partial_sort(best.begin(), best.begin() + static_cast<std::ptrdiff_t>(kept), best.end());
  for (size_t i = 0; i < kept; ++i) {
    const bool failed = std::isinf(best[i].first);
    if (!failed && !rung.gone_on.contains(best[i].second)) return best[i].second;
  }
  return std::nullopt;
}

std::optional<Proposal> HalvingAlgorithm::Ask() {
  Proposal proposal;
  proposal.trial = trials_.Next();
  bool promoted = false;
  for (size_t rung = rungs_.size() - 1; rung-- > 0 && !promoted;) {
    const std::optional<uint64_t> draw = Promotable(rungs_[rung]);
    if (!draw.has_value()) continue;
    proposal.slot = *draw;
    proposal.rung = static_cast<uint32_t>(rung + 1);
    promoted = true;
  }
  if (!promoted) proposal.slot = drawn_.Next();
  if (!promoted && proposal.slot >= space_.successive_halving().trials()) return std::nullopt;
  std::optional<Point> point = draws_.At(proposal.slot);
  if (!point.has_value()) return std::nullopt;
  proposal.point = *std::move(point);
  trials_.Take(proposal.trial);
  drawn_.Take(proposal.slot);
  if (promoted) rungs_[proposal.rung - 1].gone_on.insert(proposal.slot);
  return proposal;
}

void HalvingAlgorithm::Tell(const Proposal& proposal, const std::vector<double>& losses) {
  trials_.Take(proposal.trial);
  drawn_.Take(proposal.slot);
  if (proposal.rung >= rungs_.size()) return;
  if (proposal.rung > 0) rungs_[proposal.rung - 1].gone_on.insert(proposal.slot);
  rungs_[proposal.rung].losses[proposal.slot] = losses[0];
}

}  // namespace consilium
