// `consilium-sim check`: random federations against the engines' invariants, and the first that
// breaks one made as small as it gets.
//
// Threads: one.

#ifndef CONSILIUM_SIM_COMMANDS_CHECK_COMMAND_H_
#define CONSILIUM_SIM_COMMANDS_CHECK_COMMAND_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sim/check/examine.h"

namespace consilium {

struct CheckCommand {
  uint64_t runs = 1000;
  uint64_t seed = 1;   // Of the first; the next has the next.
  double time_s = 0;   // No new one after so many seconds; 0: no limit.
  std::string replay;  // A folder of an earlier finding: only that is examined.
  std::string out = "check-failure";
  enum class Output { kText, kJson } output = Output::kText;
  // For tests: what examines.
  std::function<absl::StatusOr<Verdict>(const FederationCase&, const std::string& folder)> examine =
      Examine;
};

// DATA_LOSS where an invariant is broken; `out` then holds the smallest federation that was found
// to break it, for `check --replay` and `run`. INVALID_ARGUMENT: numbers out of range, or a
// replayed config that is refused.
absl::Status Execute(const CheckCommand& command);

}  // namespace consilium

#endif  // CONSILIUM_SIM_COMMANDS_CHECK_COMMAND_H_
