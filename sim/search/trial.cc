#include "sim/search/trial.h"

#include <algorithm>

namespace consilium {
namespace {

bool Dominates(const std::vector<double>& a, const std::vector<double>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] > b[i]) return false;
  }
  return a != b;
}

}  // namespace

std::vector<uint64_t> BestTrials(const v1::SearchSpace& space, const std::vector<Trial>& trials) {
  struct Candidate {
    uint64_t number = 0;
    std::vector<double> losses;
  };
  uint32_t rung = 0;
  for (const Trial& trial : trials) {
    if (trial.succeeded()) rung = std::max(rung, trial.proposal.rung);
  }
  std::vector<Candidate> candidates;
  for (const Trial& trial : trials) {
    if (!trial.succeeded() || trial.same_as.has_value() || trial.proposal.rung < rung) continue;
    candidates.push_back({trial.number(), LossesOf(space, trial.result.objectives)});
  }
  // Who is dominated comes behind who dominates it, and is dominated by one of the best, too.
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return a.losses < b.losses; });
  std::vector<const Candidate*> front;
  for (const Candidate& candidate : candidates) {
    const bool dominated =
        std::any_of(front.begin(), front.end(), [&candidate](const Candidate* other) {
          return Dominates(other->losses, candidate.losses);
        });
    if (!dominated) front.push_back(&candidate);
  }
  std::vector<uint64_t> best;
  for (const Candidate* candidate : front) best.push_back(candidate->number);
  std::sort(best.begin(), best.end());
  return best;
}

}  // namespace consilium
