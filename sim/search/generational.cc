#include "sim/search/generational.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_format.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

// Between coordinates that two builds of the C library's logarithm come to.
constexpr double kRoundingMax = 1e-6;

bool IsSamePoint(const Point& a, const Point& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!(std::abs(a[i] - b[i]) <= kRoundingMax)) return false;
  }
  return true;
}

}  // namespace

GenerationalAlgorithm::GenerationalAlgorithm(const v1::SearchSpace& space)
    : space_(space),
      population_(space.has_nsga2() ? space.nsga2().population() : space.cma_es().population()),
      generations_(space.has_nsga2() ? space.nsga2().generations() : space.cma_es().generations()),
      engine_(space) {
  DistinctDraws draws(space_);
  for (uint64_t i = 0; i < population_; ++i) points_.push_back(draws.MemberAt(i));
}

uint64_t GenerationalAlgorithm::trials_max() const { return population_ * (1 + generations_); }

std::optional<Proposal> GenerationalAlgorithm::Ask() {
  const uint64_t trial = numbers_.Next();
  while (status_.ok() && generation_ < trial / population_ && generation_ < generations_) {
    // Numbers are taken when they are asked for; what is awaited is not told yet.
    const auto end = told_.lower_bound((generation_ + 1) * population_);
    if (static_cast<uint64_t>(std::distance(told_.begin(), end)) < population_) return std::nullopt;
    status_ = NextGeneration();
  }
  if (!status_.ok() || trial >= trials_max()) return std::nullopt;
  numbers_.Take(trial);
  return Proposal{trial, points_[trial % population_], trial % population_, 0};
}

absl::Status GenerationalAlgorithm::NextGeneration() {
  CONSILIUM_ASSIGN_OR_RETURN(const auto losses, TakeLosses());
  CONSILIUM_RETURN_IF_ERROR(generation_ == 0 ? engine_.Begin(points_, losses)
                                             : engine_.Advance(losses));
  CONSILIUM_ASSIGN_OR_RETURN(points_, engine_.Offspring());
  ++generation_;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::vector<double>>> GenerationalAlgorithm::TakeLosses() {
  std::vector<std::vector<double>> losses;
  for (uint64_t i = 0; i < population_; ++i) {
    const auto told = told_.begin();
    if (!IsSamePoint(told->second.point, points_[i])) {
      return absl::FailedPreconditionError(absl::StrFormat(
          "trial %d was tried at another point than this program comes to: another version of it, "
          "or of pagmo2, began this search; give another --out, or remove that folder",
          told->first));
    }
    losses.push_back(std::move(told->second.losses));
    told_.erase(told);
  }
  return losses;
}

void GenerationalAlgorithm::Tell(const Proposal& proposal, const std::vector<double>& losses) {
  numbers_.Take(proposal.trial);
  if (proposal.trial >= trials_max()) return;
  told_[proposal.trial] = Told{proposal.point, losses};
}

}  // namespace consilium
