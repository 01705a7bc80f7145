// The one failure of a training that a smaller learning rate may help, told apart from others.
//
// Threads: any.

#ifndef CONSILIUM_SITE_AGENT_CORE_NOT_FINITE_H_
#define CONSILIUM_SITE_AGENT_CORE_NOT_FINITE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace consilium {

inline constexpr char kLeftTheFiniteNumbers[] = "training left the finite numbers";

// FAILED_PRECONDITION: `what` ("loss", "gradient", …) of that step is no finite number.
inline absl::Status NotFinite(absl::string_view what, uint32_t step) {
  return absl::FailedPreconditionError(
      absl::StrCat(kLeftTheFiniteNumbers, ": the ", what, " of step ", step,
                   " is not finite; a smaller learning rate, or standardised features, may help"));
}

// By its words: logs of simulations and ranks carry no more of a status than code and text.
inline bool IsNotFinite(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) &&
         absl::StartsWith(status.message(), kLeftTheFiniteNumbers);
}

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_CORE_NOT_FINITE_H_
