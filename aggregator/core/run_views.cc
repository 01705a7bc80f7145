#include "aggregator/core/run_views.h"

namespace consilium::federation {

std::map<SiteId, SiteCounts> CountsBySite(const RunState& run) {
  std::map<SiteId, SiteCounts> out;
  for (const auto& [site, participant] : run.participants) {
    SiteCounts& counts = out[site];
    counts.influence = participant.influence;
    counts.granted = participant.tasks.size();
    for (const auto& [id, task] : participant.tasks) {
      const bool included = task.phase == TaskPhase::kIncluded;
      const bool not_included = task.phase == TaskPhase::kNotIncluded;
      counts.included += included ? 1 : 0;
      counts.not_included += not_included ? 1 : 0;
      counts.refused += task.phase == TaskPhase::kRefused ? 1 : 0;
      counts.accepted += included || not_included || task.phase == TaskPhase::kAccepted ? 1 : 0;
    }
  }
  return out;
}

std::vector<uint64_t> StalenessHistogram(const RunState& run) {
  std::vector<uint64_t> histogram;
  for (const VersionState& version : run.versions) {
    for (const Contribution& entry : version.contributions) {
      if (entry.role != Contribution::Role::kNew) continue;
      if (entry.staleness >= histogram.size()) histogram.resize(entry.staleness + 1);
      ++histogram[entry.staleness];
    }
  }
  return histogram;
}

}  // namespace consilium::federation
