// CMA-ES and NSGA-II of pagmo2, a generation after the other: trial g·λ + i is point i of
// generation g, so it hangs on the losses of the generations before it and on the seed, and neither
// on the order in which results come nor on the number of workers. Workers wait at the end of a
// generation.
//
// Nothing of pagmo2's state is kept between processes: the generations that an earlier one knew are
// gone through again with their logged losses, and have to come to the same points.
//
// Threads: one call at a time.

#ifndef CONSILIUM_SIM_SEARCH_GENERATIONAL_H_
#define CONSILIUM_SIM_SEARCH_GENERATIONAL_H_

#include <map>
#include <optional>
#include <vector>

#include "sim/search/algorithm.h"
#include "sim/search/pagmo_engine.h"
#include "sim/search/sampling.h"

namespace consilium {

class GenerationalAlgorithm final : public SearchAlgorithm {
 public:
  explicit GenerationalAlgorithm(const v1::SearchSpace& space);
  // The first population, drawn at random, and then `generations` more. Nothing while the last
  // trials of a generation are awaited.
  std::optional<Proposal> Ask() override;
  void Tell(const Proposal& proposal, const std::vector<double>& losses) override;
  uint64_t trials_max() const override;
  // FAILED_PRECONDITION: a trial that an earlier process told is not at the point that this one
  // comes to. INTERNAL: pagmo2 refuses.
  absl::Status status() const override { return status_; }

 private:
  struct Told {
    Point point;
    std::vector<double> losses;
  };
  // Goes to the generation after the present one, all of whose trials are told.
  absl::Status NextGeneration();
  absl::StatusOr<std::vector<std::vector<double>>> TakeLosses();

  const v1::SearchSpace space_;
  const uint64_t population_;
  const uint64_t generations_;
  TrialNumbers numbers_;
  PagmoEngine engine_;
  uint64_t generation_ = 0;
  std::vector<Point> points_;      // Of the present generation.
  std::map<uint64_t, Told> told_;  // By trial; of this generation and of later ones.
  absl::Status status_;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_SEARCH_GENERATIONAL_H_
