// One federation for the checker: run config and scenario, drawn from a seed, over a small made
// table that is dealt out to as many sites as the scenario says. As files it is what
// `consilium-sim run` takes.
//
// Ownership: values. Threads: as any value.

#ifndef CONSILIUM_SIM_CHECK_FEDERATION_CASE_H_
#define CONSILIUM_SIM_CHECK_FEDERATION_CASE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "consilium/v1/run_config.pb.h"
#include "consilium/v1/scenario.pb.h"

namespace consilium {

struct FederationCase {
  v1::RunPlan plan;       // As a person writes it: not resolved.
  v1::Scenario scenario;  // Of one table, dealt out.
};

// Any rule with any trigger and limits, under speeds, links, windows, faults and attacks, each of
// which most cases lack. Some are refused as configs; every other one must end.
FederationCase DrawCase(uint64_t seed);

// The table's file, by the name that the scenario has for it.
inline constexpr char kCaseTable[] = "patients.csv";
absl::Status WriteCaseTable(const std::string& folder);

// run.textproto, scenario.textproto, what they name, and the table.
absl::Status WriteCase(const FederationCase& federation, const std::string& folder);
// As LoadRunPlan and LoadScenario.
absl::StatusOr<FederationCase> ReadCase(const std::string& folder);

}  // namespace consilium

#endif  // CONSILIUM_SIM_CHECK_FEDERATION_CASE_H_
