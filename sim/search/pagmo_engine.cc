#include "sim/search/pagmo_engine.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <pagmo/algorithm.hpp>
#include <pagmo/algorithms/cmaes.hpp>
#include <pagmo/algorithms/nsga2.hpp>
#include <pagmo/population.hpp>
#include <pagmo/problem.hpp>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/derived_seed.h"

namespace consilium {
namespace {

using pagmo::vector_double;

// Of a failed trial: behind every number that a trial has, and a number still, as differences of
// losses are taken for crowding distances.
constexpr double kLossMax = 1e300;
// pagmo's own defaults: how near children are to their parents.
constexpr double kCrossoverIndex = 10;
constexpr double kMutationIndex = 50;

// What pagmo asks for while it makes one generation, and what it is told.
struct Evaluations {
  std::vector<vector_double> asked;
  // Nothing: it is told zeros, and what comes of them is thrown away. Neither algorithm looks at a
  // loss before it has drawn the whole generation.
  const std::vector<PagmoEngine::Losses>* losses = nullptr;
};

vector_double Finite(const PagmoEngine::Losses& losses) {
  vector_double finite;
  for (const double loss : losses) finite.push_back(std::clamp(loss, -kLossMax, kLossMax));
  return finite;
}

// A user-defined problem, as pagmo calls it.
struct Problem {
  vector_double fitness(const vector_double& x) const {
    evaluations->asked.push_back(x);
    if (evaluations->losses == nullptr) return vector_double(objectives, 0.0);
    return Finite(evaluations->losses->at(evaluations->asked.size() - 1));
  }
  std::pair<vector_double, vector_double> get_bounds() const {
    return {vector_double(upper.size(), 0.0), upper};
  }
  vector_double::size_type get_nobj() const { return objectives; }
  vector_double::size_type get_nix() const { return integers; }

  Evaluations* evaluations = nullptr;
  size_t objectives = 1;
  vector_double upper = {1.0};  // Of coordinates in pagmo's order.
  size_t integers = 0;          // The last ones.
};

// Periodic with 2, and even.
double Folded(double x) {
  const double within = std::fmod(std::abs(x), 2.0);
  return within > 1 ? 2 - within : within;
}

absl::Status Guarded(const std::function<void()>& call) {
  try {
    call();
    return absl::OkStatus();
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("pagmo2: ", error.what()));
  }
}

}  // namespace

class PagmoEngine::Pagmo {
 public:
  explicit Pagmo(const v1::SearchSpace& space) : space_(space) {
    problem_.evaluations = &evaluations_;
    problem_.objectives = static_cast<size_t>(space.objectives_size());
    problem_.upper.clear();
    for (int i = 0; i < space.parameters_size(); ++i) {
      if (!IsInteger(i)) Append(i, 1);
    }
    for (int i = 0; i < space.parameters_size(); ++i) {
      if (!IsInteger(i)) continue;
      Append(i, space.parameters(i).choice().values_size() - 1);
      ++problem_.integers;
    }
  }

  absl::Status Begin(const std::vector<Point>& points, const std::vector<Losses>& losses) {
    return Guarded([&] {
      algorithm_ = MakeAlgorithm();
      population_.emplace(pagmo::problem(problem_), 0U, Seed("search.pagmo.population"));
      for (size_t i = 0; i < points.size(); ++i) {
        population_->push_back(ToPagmo(points[i]), Finite(losses.at(i)));
      }
    });
  }

  absl::StatusOr<std::vector<Point>> Offspring() {
    std::vector<Point> points;
    CONSILIUM_RETURN_IF_ERROR(Guarded([&] {
      // A copy has its own generator of random numbers, so the original draws the same again.
      const pagmo::algorithm rehearsal(*algorithm_);
      Evolve(rehearsal, nullptr);
      for (const vector_double& x : evaluations_.asked) points.push_back(FromPagmo(x));
    }));
    return points;
  }

  absl::Status Advance(const std::vector<Losses>& losses) {
    return Guarded([&] { population_ = Evolve(*algorithm_, &losses); });
  }

 private:
  bool IsInteger(int parameter) const {
    return space_.has_nsga2() && space_.parameters(parameter).choice().values_size() > 1;
  }

  void Append(int parameter, double upper) {
    order_.push_back(static_cast<size_t>(parameter));
    problem_.upper.push_back(upper);
  }

  unsigned Seed(absl::string_view purpose) const {
    return static_cast<unsigned>(DeriveSeed64(SeedPath{space_.seed(), purpose, ""}));
  }

  // Of one generation, remembering what the next one needs.
  pagmo::algorithm MakeAlgorithm() const {
    const unsigned seed = Seed("search.pagmo.algorithm");
    if (space_.has_nsga2()) {
      const v1::Nsga2& settings = space_.nsga2();
      return pagmo::algorithm(pagmo::nsga2(1, settings.crossover(), kCrossoverIndex,
                                           settings.mutation(), kMutationIndex, seed));
    }
    // Rates −1: Hansen's. Tolerances 0: it never stops by itself.
    return pagmo::algorithm(pagmo::cmaes(1, -1, -1, -1, -1, space_.cma_es().sigma(), 0, 0,
                                         /*memory=*/true, /*force_bounds=*/false, seed));
  }

  pagmo::population Evolve(const pagmo::algorithm& algorithm, const std::vector<Losses>* losses) {
    evaluations_ = {{}, losses};
    pagmo::population evolved = algorithm.evolve(*population_);
    evaluations_.losses = nullptr;
    if (evaluations_.asked.size() != population_->size()) {
      throw std::logic_error(absl::StrCat("asked for ", evaluations_.asked.size(), " trials of a ",
                                          "generation of ", population_->size()));
    }
    return evolved;
  }

  vector_double ToPagmo(const Point& point) const {
    vector_double x;
    for (size_t i = 0; i < order_.size(); ++i) {
      const double coordinate = point[order_[i]];
      const bool integer = i >= order_.size() - problem_.integers;
      const double count = problem_.upper[i] + 1;
      x.push_back(integer ? std::min(count - 1, std::floor(coordinate * count)) : coordinate);
    }
    return x;
  }

  Point FromPagmo(const vector_double& x) const {
    Point point(order_.size());
    for (size_t i = 0; i < order_.size(); ++i) {
      if (!std::isfinite(x[i])) throw std::range_error("drew what is no number");
      const bool integer = i >= order_.size() - problem_.integers;
      point[order_[i]] = integer ? (x[i] + 0.5) / (problem_.upper[i] + 1) : Folded(x[i]);
    }
    return point;
  }

  const v1::SearchSpace space_;
  std::vector<size_t> order_;  // Parameters, in pagmo's order.
  Evaluations evaluations_;
  Problem problem_;
  std::optional<pagmo::algorithm> algorithm_;
  std::optional<pagmo::population> population_;
};

PagmoEngine::PagmoEngine(const v1::SearchSpace& space) : pagmo_(std::make_unique<Pagmo>(space)) {}
PagmoEngine::~PagmoEngine() = default;

absl::Status PagmoEngine::Begin(const std::vector<Point>& points,
                                const std::vector<Losses>& losses) {
  return pagmo_->Begin(points, losses);
}

absl::StatusOr<std::vector<Point>> PagmoEngine::Offspring() const { return pagmo_->Offspring(); }

absl::Status PagmoEngine::Advance(const std::vector<Losses>& losses) {
  return pagmo_->Advance(losses);
}

}  // namespace consilium
