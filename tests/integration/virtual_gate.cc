// The gate of a virtual federation: holds back what a script says comes later.

#include "tests/integration/virtual_federation.h"

namespace consilium::integration {

bool VirtualFederation::IsDone(const Arrival& arrival) const {
  const fed::RunState* const run = AggregatorRun();
  if (run == nullptr) return false;
  if (arrival.program != 0) return run->versions.size() >= arrival.program;
  const auto participant = run->participants.find(arrival.site);
  if (participant == run->participants.end()) return false;
  const auto task = participant->second.tasks.find(arrival.task);
  return task != participant->second.tasks.end() && task->second.phase != fed::TaskPhase::kGranted;
}

size_t VirtualFederation::FirstNotDone() const {
  size_t index = 0;
  while (index < options_.script->size() && IsDone((*options_.script)[index])) ++index;
  return index;
}

bool VirtualFederation::MayArrive(const SiteId& site, TaskId task) const {
  if (options_.script == nullptr) return true;
  const size_t next = FirstNotDone();
  if (next == options_.script->size()) return true;
  for (size_t i = 0; i <= next; ++i) {
    const Arrival& arrival = (*options_.script)[i];
    if (arrival.program == 0 && arrival.site == site && arrival.task == task) return true;
  }
  return false;
}

bool VirtualFederation::MayEnd(uint64_t program) const {
  if (options_.script == nullptr) return true;
  const size_t next = FirstNotDone();
  if (next == options_.script->size()) return true;
  for (size_t i = 0; i <= next; ++i) {
    if ((*options_.script)[i].program == program) return true;
  }
  return false;
}

// A notice waits until the site has trained what the script trains on older versions; a grant
// waits until the newest model that is here is the script's base.
bool VirtualFederation::MayHear(const Agent& agent, const site::Event& event) const {
  const auto* model = std::get_if<site::ModelAvailable>(&event);
  const auto* grant = std::get_if<site::TaskOffered>(&event);
  if (options_.script == nullptr || (model == nullptr && grant == nullptr)) return true;
  if (FirstNotDone() == options_.script->size()) return true;
  const site::RunState* const run = AgentRun(agent);
  if (run == nullptr) return true;
  for (const Arrival& arrival : *options_.script) {
    if (arrival.site != agent.id) continue;
    if (model != nullptr && arrival.base < model->version) {
      const auto task = run->tasks.find(arrival.task);
      if (task == run->tasks.end()) return false;
      if (task->second.blob == site::TaskState::Blob::kAbsent) return false;
    }
    if (grant != nullptr && arrival.task == grant->task) {
      std::optional<Version> newest;
      for (const auto& [version, state] : run->models) {
        if (state.where == site::ModelState::Where::kHere) newest = version;
      }
      return newest == arrival.base;
    }
  }
  // A grant that the script knows nothing of came too late to count.
  return grant == nullptr;
}

}  // namespace consilium::integration
