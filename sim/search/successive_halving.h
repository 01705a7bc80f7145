// Asynchronous successive halving (Li et al., arXiv:1810.05934, algorithm 2): who asks for work
// gets, from the highest rung down, the best point of a rung that is among the best 1/η of those
// known there and has not gone on yet; else a new point at the lowest rung. So nobody waits for a
// rung to fill, and a point that came early may go on that a later one would have kept back.
//
// With losses that order points alike at every rung, and η points at least, the best point of all
// reaches the highest rung that it can: it is among the best 1/η of every rung that it comes to and
// that has η points in the end.
//
// Threads: one call at a time.

#ifndef CONSILIUM_SIM_SEARCH_SUCCESSIVE_HALVING_H_
#define CONSILIUM_SIM_SEARCH_SUCCESSIVE_HALVING_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "sim/search/algorithm.h"
#include "sim/search/sampling.h"

namespace consilium {

class HalvingAlgorithm final : public SearchAlgorithm {
 public:
  explicit HalvingAlgorithm(const v1::SearchSpace& space);
  // Proposal::slot is the number of the draw.
  std::optional<Proposal> Ask() override;
  void Tell(const Proposal& proposal, const std::vector<double>& losses) override;
  // As many as a synchronous one takes; a few more where early ones went on in vain.
  uint64_t trials_max() const override;

 private:
  struct Rung {
    std::map<uint64_t, double> losses;  // By draw.
    std::set<uint64_t> gone_on;         // Draws whose next rung was asked for.
  };
  // The draw of `rung` that may go on.
  std::optional<uint64_t> Promotable(const Rung& rung) const;

  const v1::SearchSpace space_;
  DistinctDraws draws_;
  TrialNumbers trials_;
  TrialNumbers drawn_;
  std::vector<Rung> rungs_;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_SEARCH_SUCCESSIVE_HALVING_H_
