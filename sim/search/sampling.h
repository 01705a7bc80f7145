// Search without memory: every point of a grid, or points drawn at random. Which point a trial has
// depends on its number alone.
//
// Threads: one call at a time.

#ifndef CONSILIUM_SIM_SEARCH_SAMPLING_H_
#define CONSILIUM_SIM_SEARCH_SAMPLING_H_

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sim/search/algorithm.h"

namespace consilium {

// Which of the numbers 0, 1, 2, … are taken.
class TrialNumbers {
 public:
  void Take(uint64_t number);
  // The smallest that is not.
  uint64_t Next() const { return first_free_; }

 private:
  uint64_t first_free_ = 0;
  std::set<uint64_t> taken_;  // Beyond it.
};

// Points drawn uniformly from the unit cube, no two of which are the same trial.
class DistinctDraws {
 public:
  // `space` outlives it.
  explicit DistinctDraws(const v1::SearchSpace& space) : space_(space) {}

  // Draw `index`. Nothing where the space has been tried, as far as chance tells: a thousand draws
  // one after the other were known.
  std::optional<Point> At(uint64_t index);
  // Of a population: where the space has fewer points than that, it has some of them twice.
  Point MemberAt(uint64_t index);

 private:
  const v1::SearchSpace& space_;
  uint64_t draws_ = 0;
  std::vector<Point> points_;
  std::set<std::string> keys_;
};

class GridAlgorithm final : public SearchAlgorithm {
 public:
  explicit GridAlgorithm(const v1::SearchSpace& space);
  std::optional<Proposal> Ask() override;
  void Tell(const Proposal& proposal, const std::vector<double>& losses) override;
  uint64_t trials_max() const override { return size_; }

 private:
  std::vector<std::vector<double>> axes_;  // Coordinates of each parameter.
  uint64_t size_ = 1;
  TrialNumbers numbers_;
};

class RandomAlgorithm final : public SearchAlgorithm {
 public:
  explicit RandomAlgorithm(const v1::SearchSpace& space);
  std::optional<Proposal> Ask() override;
  void Tell(const Proposal& proposal, const std::vector<double>& losses) override;
  uint64_t trials_max() const override { return space_.random().trials(); }

 private:
  const v1::SearchSpace space_;
  DistinctDraws draws_;
  TrialNumbers numbers_;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_SEARCH_SAMPLING_H_
