#include "site_agent/core/fetched_model.h"

#include "absl/status/status.h"
#include "models/spec/preset_traits.h"

namespace consilium {

uint64_t FetchedElements(const v1::RunConfig& config, Version version, uint64_t elements) {
  const bool has_control =
      KeptBySites(config) == SiteKeeps::kControlVariate && version != Version(0);
  return has_control ? 2 * elements : elements;
}

absl::StatusOr<FetchedModel> PartsOf(std::span<const float> payload, uint64_t elements) {
  if (payload.size() == elements) return FetchedModel{payload, {}};
  if (payload.size() != 2 * elements) {
    return absl::DataLossError("the model has not the size of the run's layout");
  }
  return FetchedModel{payload.first(elements), payload.subspan(elements)};
}

}  // namespace consilium
