// What a site fetches of a version: its weights and, with SCAFFOLD from version 1 on, the server's
// control variate after them.
//
// Threads: any.

#ifndef CONSILIUM_SITE_AGENT_CORE_FETCHED_MODEL_H_
#define CONSILIUM_SITE_AGENT_CORE_FETCHED_MODEL_H_

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "consilium/v1/run_config.pb.h"
#include "protocol/core/ids.h"

namespace consilium {

struct FetchedModel {
  std::span<const float> weights;
  std::span<const float> control;  // Empty where there is none.
};

// Floats of what is fetched of `version`, whose model has so many elements.
uint64_t FetchedElements(const v1::RunConfig& config, Version version, uint64_t elements);

// The parts of `payload`, which is borrowed. DATA_LOSS where it has the size of neither one vector
// nor two.
absl::StatusOr<FetchedModel> PartsOf(std::span<const float> payload, uint64_t elements);

}  // namespace consilium

#endif  // CONSILIUM_SITE_AGENT_CORE_FETCHED_MODEL_H_
