// Zeno++: an update counts if it goes where a trusted site's goes. With v the validator's latest
// update, and g another site's brought to its length,
//
//   g' = g·‖v‖/‖g‖,   g' counts  ⟺  γ⟨v, g'⟩ − ρ‖g'‖² ≥ −γ·ε            (arXiv:1903.07020)
//
// so by the angle between them: cos(v, g) ≥ ρ/γ − ε/‖v‖². The paper has gradients where this has
// updates Δ, which go the other way: both signs turn, and the product stays. ε is in the unit of
// ‖v‖², which here is that of an update's square.
//
// Ownership: values. Threads: any.

#ifndef CONSILIUM_AGGREGATOR_CORE_STRATEGIES_ZENO_RULE_H_
#define CONSILIUM_AGGREGATOR_CORE_STRATEGIES_ZENO_RULE_H_

#include <optional>

#include "absl/status/statusor.h"
#include "consilium/v1/run_config.pb.h"
#include "protocol/core/ids.h"

namespace consilium::federation {

struct ZenoRule {
  SiteId validator;
  double gamma = 0.1;    // γ > 0
  double rho = 0.002;    // ρ ≥ 0
  double epsilon = 0.0;  // ε ≥ 0
};

// INVALID_ARGUMENT where no validator is named or a value is out of its range; 0 is the default of
// γ and ρ.
absl::StatusOr<ZenoRule> ZenoRuleOf(const v1::ZenoScore& config);

struct ZenoMeasures {
  double product = 0;  // ⟨v, g⟩
  double norm = 0;     // ‖g‖
  double validator_norm = 0;
};
// An update that would have to be lengthened more than this has no direction that means anything:
// what is left of it in f32 is rounding.
inline constexpr double kZenoScaleMax = 1e12;

// ‖v‖/‖g‖ where the update counts; nothing where it does not, or has no direction.
std::optional<double> ZenoScaleOf(const ZenoRule& rule, const ZenoMeasures& measures);

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_STRATEGIES_ZENO_RULE_H_
