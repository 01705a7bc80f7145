#include "site_agent/core/personal_model.h"

#include <algorithm>
#include <cstddef>

#include "models/spec/personal_layers.h"

namespace consilium {
namespace {

size_t ElementsOf(const std::vector<ElementRange>& ranges) {
  size_t elements = 0;
  for (const ElementRange& range : ranges) elements += range.end - range.begin;
  return elements;
}

}  // namespace

absl::StatusOr<std::vector<float>> PersonalModelOf(const ModelGraph& graph, SiteKeeps keeps,
                                                   std::span<const float> shared,
                                                   std::span<const float> kept) {
  if (!IsPersonal(keeps)) {
    return absl::FailedPreconditionError(
        "the run leaves a hospital no model of its own: the presets FEDPER, FEDBN and DITTO do");
  }
  const size_t elements = graph.layout.elements();
  const std::vector<ElementRange> ranges = PersonalRanges(graph);
  const size_t kept_elements = keeps == SiteKeeps::kPersonalModel ? elements : ElementsOf(ranges);
  if (shared.size() != elements || kept.size() != kept_elements) {
    return absl::DataLossError("what the site keeps, or the version, is not of the run's layout");
  }
  if (keeps == SiteKeeps::kPersonalModel) return std::vector<float>(kept.begin(), kept.end());
  std::vector<float> model(shared.begin(), shared.end());
  for (const ElementRange& range : ranges) {
    const size_t size = range.end - range.begin;
    std::copy_n(kept.begin(), size, std::span<float>(model).subspan(range.begin, size).begin());
    kept = kept.subspan(size);
  }
  return model;
}

}  // namespace consilium
