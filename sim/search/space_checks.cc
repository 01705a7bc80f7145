#include "sim/search/space_checks.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "models/spec/complaints.h"
#include "models/spec/field_checks.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/limits.h"
#include "sim/search/cell_space.h"
#include "sim/search/space.h"

namespace consilium {
namespace {

constexpr int kParametersMax = 64;
constexpr int kObjectivesMax = 8;
constexpr uint32_t kTrialsMax = 1'000'000;
constexpr uint32_t kGridPointsMax = 1'000;
constexpr int kChoicesMax = 1'000;
constexpr size_t kChoiceBytesMax = 4096;
constexpr size_t kPathBytesMax = 256;
constexpr size_t kSpaceNameCharsMax = 40;
constexpr int64_t kIntegerMax = int64_t{1} << 53;
constexpr uint32_t kVersionsMax = 1'000'000;
constexpr double kVirtualMsMax = 1e12;
// Of the trials' table, besides parameters, objectives and costs.
constexpr const char* kColumns[] = {"trial",      "rung", "same_as", "versions_max",
                                    "virtual_ms", "best", "error"};
constexpr double kDefaultExponent = -0.07;
constexpr double kExponentMax = 10;
constexpr double kDefaultSigma = 0.3;
constexpr double kDefaultCrossing = 0.95;
constexpr uint32_t kDefaultAgingPopulation = 20;
constexpr double kDefaultPolicyRate = 0.2;
constexpr double kDefaultDecay = 0.9;

absl::Status Refuse(absl::string_view field, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", what));
}

struct Bounds {
  double min = 0;
  double max = 0;
};

absl::Status CheckBounds(absl::string_view field, double value, const Bounds& bounds) {
  if (value >= bounds.min && value <= bounds.max) return absl::OkStatus();
  return Refuse(field, absl::StrFormat("is %.12g, but must be from %.12g to %.12g", value,
                                       bounds.min, bounds.max));
}

bool IsSpaceName(absl::string_view name) {
  const auto letter = [](char c) {
    return absl::ascii_islower(static_cast<unsigned char>(c)) ||
           absl::ascii_isdigit(static_cast<unsigned char>(c));
  };
  return !name.empty() && name.size() <= kSpaceNameCharsMax && letter(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || c == '-'; });
}

bool IsObjectiveName(absl::string_view name) {
  return !name.empty() && name.size() <= limits::kNameCharsMax &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_islower(static_cast<unsigned char>(c)) ||
                  absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '_';
         });
}

absl::Status CheckScale(const std::string& field, v1::SearchScale scale, double min) {
  if (scale != v1::LINEAR && scale != v1::LOG) {
    return Refuse(absl::StrCat(field, ".scale"), "must be LINEAR or LOG");
  }
  if (scale == v1::LOG && !(min > 0)) {
    return Refuse(absl::StrCat(field, ".min"), "must be above 0 where the scale is LOG");
  }
  return absl::OkStatus();
}

absl::Status CheckGridPoints(const std::string& field, uint32_t points) {
  return points == 0
             ? absl::OkStatus()
             : CheckBounds(absl::StrCat(field, ".grid_points"), points, {2, kGridPointsMax});
}

absl::Status CheckInteger(const std::string& field, const v1::IntegerRange& range) {
  if (range.min() < -kIntegerMax || range.max() > kIntegerMax || range.min() > range.max()) {
    return Refuse(field, "min and max must be from -2^53 to 2^53, and min no greater than max");
  }
  CONSILIUM_RETURN_IF_ERROR(CheckScale(field, range.scale(), static_cast<double>(range.min())));
  return CheckGridPoints(field, range.grid_points());
}

absl::Status CheckReal(const std::string& field, const v1::RealRange& range) {
  if (!std::isfinite(range.min()) || !std::isfinite(range.max()) || range.min() > range.max() ||
      !std::isfinite(range.max() - range.min())) {
    return Refuse(field, "min and max must be finite numbers, and min no greater than max");
  }
  CONSILIUM_RETURN_IF_ERROR(CheckScale(field, range.scale(), range.min()));
  return CheckGridPoints(field, range.grid_points());
}

absl::Status CheckChoice(const std::string& field, const v1::Choice& choice) {
  const std::string values = absl::StrCat(field, ".values");
  CONSILIUM_RETURN_IF_ERROR(CheckBounds(values, choice.values_size(), {1, kChoicesMax}));
  std::set<std::string> seen;
  for (const std::string& value : choice.values()) {
    if (value.empty() || value.size() > kChoiceBytesMax) {
      return Refuse(values, absl::StrFormat("a value has 1 to %d bytes", kChoiceBytesMax));
    }
    if (!seen.insert(value).second) return Refuse(values, absl::StrCat(value, " is there twice"));
  }
  return absl::OkStatus();
}

absl::Status CheckParameter(const v1::SearchSpace& space, int index) {
  const v1::SearchParameter& parameter = space.parameters(index);
  const std::string field = absl::StrFormat("parameters[%d]", index);
  const std::string& path = parameter.path();
  if (path.empty() || path.size() > kPathBytesMax || absl::StrContains(path, "=")) {
    return Refuse(absl::StrCat(field, ".path"),
                  absl::StrFormat("must be 1 to %d bytes without '='", kPathBytesMax));
  }
  for (int before = 0; before < index; ++before) {
    if (space.parameters(before).path() == path) {
      return Refuse(absl::StrCat(field, ".path"), absl::StrCat(path, " is there twice"));
    }
  }
  if (IsRungEnd(space, path)) {
    return Refuse(absl::StrCat(field, ".path"),
                  absl::StrCat("successive_halving sets ", path, " itself"));
  }
  const std::string named = absl::StrCat(field, " (", path, ")");
  switch (parameter.kind_case()) {
    case v1::SearchParameter::kInteger:
      return CheckInteger(absl::StrCat(named, ".integer"), parameter.integer());
    case v1::SearchParameter::kReal:
      return CheckReal(absl::StrCat(named, ".real"), parameter.real());
    case v1::SearchParameter::kChoice:
      return CheckChoice(absl::StrCat(named, ".choice"), parameter.choice());
    case v1::SearchParameter::KIND_NOT_SET:
      break;
  }
  return Refuse(named, "must have integer, real or choice");
}

absl::Status CheckObjective(const std::string& field, const v1::SearchObjective& objective) {
  if (!IsObjectiveName(objective.name())) {
    return Refuse(absl::StrCat(field, ".name"), "must be 1 to 64 characters of a-z, 0-9 and '_'");
  }
  if (objective.direction() != v1::SearchObjective::MINIMISE &&
      objective.direction() != v1::SearchObjective::MAXIMISE) {
    return Refuse(absl::StrCat(field, ".direction"), "must be MINIMISE or MAXIMISE");
  }
  switch (objective.of_case()) {
    case v1::SearchObjective::kQuantity:
      if (v1::SearchObjective::Quantity_IsValid(objective.quantity()) &&
          objective.quantity() != v1::SearchObjective::QUANTITY_UNSPECIFIED) {
        return absl::OkStatus();
      }
      return Refuse(absl::StrCat(field, ".quantity"), "must be one that this build knows");
    case v1::SearchObjective::kSummary:
      if (!objective.summary().empty() && objective.summary().size() <= kPathBytesMax) {
        return absl::OkStatus();
      }
      return Refuse(absl::StrCat(field, ".summary"),
                    absl::StrFormat("must be 1 to %d bytes", kPathBytesMax));
    case v1::SearchObjective::kScoreForCost: {
      const v1::ScoreForCost& product = objective.score_for_cost();
      const std::string path = absl::StrCat(field, ".score_for_cost");
      if (!(product.multiply_adds_target() > 0) || !std::isfinite(product.multiply_adds_target())) {
        return Refuse(absl::StrCat(path, ".multiply_adds_target"), "must be above 0");
      }
      return CheckBounds(absl::StrCat(path, ".exponent"), product.exponent(),
                         {-kExponentMax, kExponentMax});
    }
    case v1::SearchObjective::OF_NOT_SET:
      break;
  }
  return Refuse(field, "must have quantity, summary or score_for_cost");
}

absl::Status CheckObjectives(const v1::SearchSpace& space) {
  CONSILIUM_RETURN_IF_ERROR(
      CheckBounds("objectives", space.objectives_size(), {1, kObjectivesMax}));
  std::set<std::string> names;
  for (int i = 0; i < space.objectives_size(); ++i) {
    const std::string field = absl::StrFormat("objectives[%d]", i);
    CONSILIUM_RETURN_IF_ERROR(CheckObjective(field, space.objectives(i)));
    if (!names.insert(space.objectives(i).name()).second) {
      return Refuse(absl::StrCat(field, ".name"),
                    absl::StrCat(space.objectives(i).name(), " is there twice"));
    }
  }
  // Two columns of one name would be one to who reads trials.csv.
  std::set<std::string> others(std::begin(kColumns), std::end(kColumns));
  for (const v1::SearchParameter& parameter : space.parameters()) others.insert(parameter.path());
  for (const std::string& name : names) others.insert(name + "_deviation");
  for (int i = 0; i < space.objectives_size(); ++i) {
    const std::string& name = space.objectives(i).name();
    if (!others.contains(name)) continue;
    return Refuse(absl::StrFormat("objectives[%d].name", i),
                  absl::StrCat(name, " is another column of the trials' table: give another one"));
  }
  return absl::OkStatus();
}

absl::Status CheckOneObjective(absl::string_view algorithm, const v1::SearchSpace& space) {
  if (space.objectives_size() == 1) return absl::OkStatus();
  return Refuse("objectives",
                absl::StrFormat("%s takes one; there are %d", algorithm, space.objectives_size()));
}

absl::Status CheckGrid(const v1::SearchSpace& space) {
  uint64_t trials = 1;
  for (int i = 0; i < space.parameters_size(); ++i) {
    const v1::SearchParameter& parameter = space.parameters(i);
    const std::string field = absl::StrFormat("parameters[%d] (%s)", i, parameter.path());
    if (parameter.has_real() && parameter.real().grid_points() == 0) {
      return Refuse(absl::StrCat(field, ".real.grid_points"), "a grid needs it");
    }
    const v1::IntegerRange& integers = parameter.integer();
    if (parameter.has_integer() && integers.grid_points() == 0 &&
        integers.max() - integers.min() >= kTrialsMax) {
      return Refuse(absl::StrCat(field, ".integer.grid_points"),
                    absl::StrFormat("a grid over more than %d integers needs it", kTrialsMax));
    }
    trials *= GridCoordinates(parameter).size();  // At most 1e6 · 1e6 before it is refused.
    if (trials > kTrialsMax) {
      return Refuse("grid", absl::StrFormat("has more than %d combinations", kTrialsMax));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckEvolution(const v1::SearchSpace& space) {
  const v1::DifferentialEvolution& de = space.differential_evolution();
  const std::string path = "differential_evolution";
  CONSILIUM_RETURN_IF_ERROR(CheckOneObjective(path, space));
  CONSILIUM_RETURN_IF_ERROR(CheckBounds(path + ".population", de.population(), {4, 10'000}));
  CONSILIUM_RETURN_IF_ERROR(CheckBounds(path + ".generations", de.generations(), {1, 10'000}));
  CONSILIUM_RETURN_IF_ERROR(CheckBounds(path + ".crossover", de.crossover(), {0, 1}));
  if (!(de.mutation() > 0)) return Refuse(path + ".mutation", "must be above 0");
  return CheckBounds(path + ".mutation", de.mutation(), {0, 2});
}

// From the lowest to the highest.
absl::Status CheckRungs(const std::string& path, uint64_t min, uint64_t max, double most) {
  const auto lowest = static_cast<double>(min);
  CONSILIUM_RETURN_IF_ERROR(CheckBounds(path + "_min", lowest, {1, most}));
  return CheckBounds(path + "_max", static_cast<double>(max), {lowest, most});
}

absl::Status CheckHalving(const v1::SearchSpace& space) {
  const v1::SuccessiveHalving& halving = space.successive_halving();
  const std::string path = "successive_halving";
  CONSILIUM_RETURN_IF_ERROR(CheckOneObjective(path, space));
  CONSILIUM_RETURN_IF_ERROR(CheckBounds(path + ".trials", halving.trials(), {1, kTrialsMax}));
  CONSILIUM_RETURN_IF_ERROR(CheckBounds(path + ".reduction", halving.reduction(), {2, 100}));
  const bool timed = halving.virtual_ms_min() > 0 || halving.virtual_ms_max() > 0;
  if (timed && (halving.versions_min() > 0 || halving.versions_max() > 0)) {
    return Refuse(path, "its rungs are of versions or of virtual_ms, not of both");
  }
  return timed ? CheckRungs(path + ".virtual_ms", halving.virtual_ms_min(),
                            halving.virtual_ms_max(), kVirtualMsMax)
               : CheckRungs(path + ".versions", halving.versions_min(), halving.versions_max(),
                            kVersionsMax);
}

absl::Status CheckCmaEs(const v1::SearchSpace& space) {
  const v1::CmaEs& settings = space.cma_es();
  const std::string path = "cma_es";
  CONSILIUM_RETURN_IF_ERROR(CheckOneObjective(path, space));
  CONSILIUM_RETURN_IF_ERROR(CheckBounds(path + ".population", settings.population(), {5, 10'000}));
  CONSILIUM_RETURN_IF_ERROR(
      CheckBounds(path + ".generations", settings.generations(), {1, 10'000}));
  if (!(settings.sigma() > 0)) return Refuse(path + ".sigma", "must be above 0");
  return CheckBounds(path + ".sigma", settings.sigma(), {0, 1});
}

absl::Status CheckNsga2(const v1::SearchSpace& space) {
  const v1::Nsga2& settings = space.nsga2();
  const std::string path = "nsga2";
  if (space.objectives_size() < 2) {
    return Refuse("objectives", "nsga2 takes two or more; there is one");
  }
  CONSILIUM_RETURN_IF_ERROR(CheckBounds(path + ".population", settings.population(), {8, 10'000}));
  if (settings.population() % 4 != 0) {
    return Refuse(path + ".population",
                  absl::StrFormat("is %d, but must be a multiple of 4", settings.population()));
  }
  CONSILIUM_RETURN_IF_ERROR(
      CheckBounds(path + ".generations", settings.generations(), {1, 10'000}));
  CONSILIUM_RETURN_IF_ERROR(CheckBounds(path + ".crossover", settings.crossover(), {0, 1}));
  if (settings.crossover() == 1) return Refuse(path + ".crossover", "must be below 1");
  return CheckBounds(path + ".mutation", settings.mutation(), {0, 1});
}

absl::Status CheckAging(const v1::SearchSpace& space) {
  const v1::AgingEvolution& settings = space.aging_evolution();
  const std::string path = "aging_evolution";
  CONSILIUM_RETURN_IF_ERROR(CheckOneObjective(path, space));
  CONSILIUM_RETURN_IF_ERROR(CheckBounds(path + ".population", settings.population(), {2, 10'000}));
  CONSILIUM_RETURN_IF_ERROR(CheckBounds(path + ".sample", settings.sample(),
                                        {1, static_cast<double>(settings.population())}));
  return CheckBounds(path + ".trials", settings.trials(), {1, kTrialsMax});
}

// The table has a place for each value.
absl::Status CheckTable(const v1::SearchSpace& space) {
  for (int i = 0; i < space.parameters_size(); ++i) {
    const v1::SearchParameter& parameter = space.parameters(i);
    const std::string field = absl::StrFormat("parameters[%d] (%s)", i, parameter.path());
    if (parameter.has_real() && parameter.real().grid_points() == 0) {
      return Refuse(absl::StrCat(field, ".real.grid_points"), "policy_gradient needs it");
    }
    const v1::IntegerRange& integers = parameter.integer();
    if (parameter.has_integer() && integers.grid_points() == 0 &&
        integers.max() - integers.min() >= kGridPointsMax) {
      return Refuse(
          absl::StrCat(field, ".integer.grid_points"),
          absl::StrFormat("policy_gradient over more than %d integers needs it", kGridPointsMax));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckPolicy(const v1::SearchSpace& space) {
  const v1::PolicyGradient& settings = space.policy_gradient();
  const std::string path = "policy_gradient";
  CONSILIUM_RETURN_IF_ERROR(CheckOneObjective(path, space));
  CONSILIUM_RETURN_IF_ERROR(CheckBounds(path + ".trials", settings.trials(), {1, kTrialsMax}));
  CONSILIUM_RETURN_IF_ERROR(
      CheckBounds(path + ".learning_rate", settings.learning_rate(), {0, 10}));
  if (settings.learning_rate() == 0) return Refuse(path + ".learning_rate", "must be above 0");
  CONSILIUM_RETURN_IF_ERROR(CheckBounds(path + ".decay", settings.decay(), {0, 1}));
  if (settings.decay() == 1) return Refuse(path + ".decay", "must be below 1");
  return CheckTable(space);
}

absl::Status CheckAlgorithm(const v1::SearchSpace& space) {
  switch (space.algorithm_case()) {
    case v1::SearchSpace::kGrid:
      return CheckGrid(space);
    case v1::SearchSpace::kRandom:
      return CheckBounds("random.trials", space.random().trials(), {1, kTrialsMax});
    case v1::SearchSpace::kDifferentialEvolution:
      return CheckEvolution(space);
    case v1::SearchSpace::kSuccessiveHalving:
      return CheckHalving(space);
    case v1::SearchSpace::kCmaEs:
      return CheckCmaEs(space);
    case v1::SearchSpace::kNsga2:
      return CheckNsga2(space);
    case v1::SearchSpace::kAgingEvolution:
      return CheckAging(space);
    case v1::SearchSpace::kPolicyGradient:
      return CheckPolicy(space);
    case v1::SearchSpace::ALGORITHM_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError(
      "there must be one of grid, random, differential_evolution, successive_halving, cma_es, "
      "nsga2, aging_evolution and policy_gradient");
}

std::string DefaultName(const v1::SearchObjective& objective) {
  if (objective.has_quantity()) {
    return absl::AsciiStrToLower(v1::SearchObjective::Quantity_Name(objective.quantity()));
  }
  if (objective.has_score_for_cost()) return "score_for_cost";
  if (!objective.has_summary()) return "objective";
  std::string name = absl::AsciiStrToLower(objective.summary());
  std::replace_if(
      name.begin(), name.end(),
      [](char c) { return !absl::ascii_isalnum(static_cast<unsigned char>(c)); }, '_');
  return name.substr(0, limits::kNameCharsMax);
}

// Hansen's, and what pagmo takes at least.
uint32_t DefaultCmaEsPopulation(int parameters) {
  return std::max(5U, 4 + static_cast<uint32_t>(3 * std::log(parameters)));
}

void FillAlgorithmDefaults(v1::SearchSpace& space) {
  if (space.has_differential_evolution()) {
    v1::DifferentialEvolution& de = *space.mutable_differential_evolution();
    if (!de.has_crossover()) de.set_crossover(0.7);
    if (de.mutation() == 0) de.set_mutation(0.5);
  }
  if (space.has_successive_halving() && space.successive_halving().reduction() == 0) {
    space.mutable_successive_halving()->set_reduction(3);
  }
  const int parameters = std::max(1, space.parameters_size());
  if (space.has_cma_es()) {
    v1::CmaEs& settings = *space.mutable_cma_es();
    if (settings.population() == 0) settings.set_population(DefaultCmaEsPopulation(parameters));
    if (settings.sigma() == 0) settings.set_sigma(kDefaultSigma);
  }
  if (space.has_nsga2()) {
    v1::Nsga2& settings = *space.mutable_nsga2();
    if (!settings.has_crossover()) settings.set_crossover(kDefaultCrossing);
    if (!settings.has_mutation()) settings.set_mutation(1.0 / parameters);
  }
  if (space.has_policy_gradient()) {
    v1::PolicyGradient& settings = *space.mutable_policy_gradient();
    if (settings.learning_rate() == 0) settings.set_learning_rate(kDefaultPolicyRate);
    if (!settings.has_decay()) settings.set_decay(kDefaultDecay);
  }
  if (space.has_aging_evolution()) {
    v1::AgingEvolution& settings = *space.mutable_aging_evolution();
    if (settings.population() == 0) settings.set_population(kDefaultAgingPopulation);
    if (settings.sample() == 0) settings.set_sample(std::max(1U, settings.population() / 4));
  }
}

// Those that are not given; none of what CheckCell will refuse.
void AddCellParameters(v1::SearchSpace& space) {
  FillCellDefaults(*space.mutable_cell());
  if (!CheckCell(space.cell()).ok()) return;
  std::set<std::string> given;
  for (const v1::SearchParameter& parameter : space.parameters()) given.insert(parameter.path());
  for (v1::SearchParameter& parameter : CellParameters(space.cell())) {
    if (!given.contains(parameter.path())) *space.add_parameters() = std::move(parameter);
  }
}

}  // namespace

void FillSearchDefaults(v1::SearchSpace& space) {
  for (v1::SearchParameter& parameter : *space.mutable_parameters()) {
    if (parameter.has_integer() && parameter.integer().scale() == v1::SEARCH_SCALE_UNSPECIFIED) {
      parameter.mutable_integer()->set_scale(v1::LINEAR);
    }
    if (parameter.has_real() && parameter.real().scale() == v1::SEARCH_SCALE_UNSPECIFIED) {
      parameter.mutable_real()->set_scale(v1::LINEAR);
    }
  }
  if (space.has_cell()) AddCellParameters(space);
  for (v1::SearchObjective& objective : *space.mutable_objectives()) {
    if (objective.name().empty()) objective.set_name(DefaultName(objective));
    if (!objective.has_score_for_cost()) continue;
    v1::ScoreForCost& product = *objective.mutable_score_for_cost();
    if (product.score().empty()) product.set_score("best_score");
    if (!product.has_exponent()) product.set_exponent(kDefaultExponent);
  }
  FillAlgorithmDefaults(space);
}

absl::Status CheckSearchSpace(const v1::SearchSpace& space) {
  // Its texts are written as JSON, and are looked for in the log when the search goes on.
  Complaints unreadable;
  CheckFieldsKnown(space, unreadable);
  if (!unreadable.empty()) return absl::InvalidArgumentError(unreadable.Take().front());
  if (!IsSpaceName(space.name())) {
    return Refuse("name", "must be [a-z0-9][a-z0-9-]{0,39}");
  }
  if (space.has_cell()) {
    const absl::Status cell = CheckCell(space.cell());
    if (!cell.ok()) return Refuse("cell", cell.message());
  }
  CONSILIUM_RETURN_IF_ERROR(
      CheckBounds("parameters", space.parameters_size(), {1, kParametersMax}));
  for (int i = 0; i < space.parameters_size(); ++i) {
    CONSILIUM_RETURN_IF_ERROR(CheckParameter(space, i));
  }
  CONSILIUM_RETURN_IF_ERROR(CheckCellParameters(space));
  CONSILIUM_RETURN_IF_ERROR(CheckObjectives(space));
  CONSILIUM_RETURN_IF_ERROR(CheckBounds("trials_max", space.trials_max(), {0, kTrialsMax}));
  return CheckAlgorithm(space);
}

}  // namespace consilium
