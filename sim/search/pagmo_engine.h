// pagmo2's generational algorithms (Biscani and Izzo, doi:10.21105/joss.02338), a generation at a
// time: what they would try next is asked for without being tried, and told when it is known. All
// of pagmo2 is behind this file.
//
// Coordinates of sim/search/space.h are pagmo's box [0, 1]. CMA-ES samples a normal distribution,
// which knows no bounds: what lies outside is folded back, x to 2 − x at 1 and to −x at 0, so that
// an optimum at a bound is as near as any. NSGA-II has choices of two values or more as integers,
// behind the others, for its own operators: they have no order there.
//
// Ownership: a value that can not be copied. Threads: one call at a time.

#ifndef CONSILIUM_SIM_SEARCH_PAGMO_ENGINE_H_
#define CONSILIUM_SIM_SEARCH_PAGMO_ENGINE_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "consilium/v1/search_space.pb.h"
#include "sim/search/space.h"

namespace consilium {

class PagmoEngine {
 public:
  // Losses of a trial, one an objective, to be minimised; infinite where it failed.
  using Losses = std::vector<double>;

  // `space` is resolved and names cma_es or nsga2.
  explicit PagmoEngine(const v1::SearchSpace& space);
  ~PagmoEngine();
  PagmoEngine(const PagmoEngine&) = delete;
  PagmoEngine& operator=(const PagmoEngine&) = delete;

  // The first generation: as many points as the population has, each with its losses.
  // INTERNAL: pagmo2 refuses.
  absl::Status Begin(const std::vector<Point>& points, const std::vector<Losses>& losses);
  // The next generation, as many: the same however often it is asked for. After Begin.
  // INTERNAL: pagmo2 refuses, or draws what is no number.
  absl::StatusOr<std::vector<Point>> Offspring() const;
  // That generation's losses, in its order. INTERNAL: pagmo2 refuses.
  absl::Status Advance(const std::vector<Losses>& losses);

 private:
  class Pagmo;
  const std::unique_ptr<Pagmo> pagmo_;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_SEARCH_PAGMO_ENGINE_H_
