#include "site_agent/train/personal_tensors.h"

#include <algorithm>

#include "models/spec/initial_values.h"

namespace consilium {

PersonalTensors::PersonalTensors(const ModelGraph& graph, uint64_t run_seed)
    : ranges_(PersonalRanges(graph)) {
  if (!ranges_.empty()) initial_ = TakeFrom(InitialValues(graph, run_seed));
}

absl::Status PersonalTensors::PutInto(std::span<float> weights, std::span<const float> kept) const {
  if (!kept.empty() && kept.size() != initial_.size()) {
    return absl::InvalidArgumentError("what the site keeps has not the size of its own layers");
  }
  std::span<const float> own = kept.empty() ? std::span<const float>(initial_) : kept;
  for (const ElementRange& range : ranges_) {
    const size_t size = range.end - range.begin;
    std::copy_n(own.begin(), size, weights.subspan(range.begin, size).begin());
    own = own.subspan(size);
  }
  return absl::OkStatus();
}

std::vector<float> PersonalTensors::TakeFrom(std::span<const float> weights) const {
  std::vector<float> own;
  for (const ElementRange& range : ranges_) {
    const std::span<const float> part = weights.subspan(range.begin, range.end - range.begin);
    own.insert(own.end(), part.begin(), part.end());
  }
  return own;
}

void PersonalTensors::Erase(std::vector<float>& delta) const {
  for (const ElementRange& range : ranges_) {
    std::fill_n(std::span<float>(delta).subspan(range.begin).begin(), range.end - range.begin,
                0.0F);
  }
}

}  // namespace consilium
