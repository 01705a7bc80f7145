// FedCompass (arXiv:2309.14675): local steps by speed, so that groups of sites arrive together.
//
// A member whose pace is not known gets Q_min steps and belongs to no group; its update is folded
// as it comes. From then on a grant joins the group for whose expected time the most steps are left
// to the member, within [Q_min, Q_max]; where there is none it opens a group of its own, so that it
// arrives with another group's next arrival, or with Q_max steps. A group is folded when all have
// arrived, or at its latest time, which a timer brings: that is `latest_factor` times as far away
// as the expected one. Who comes after that is folded as it comes. A member is granted again when
// its update is in a version.
//
// Time comes in with the events; a pace is a mean of seconds per step from grant to arrival, of
// which a task's own takes the place of all but `speed_decay`.
//
// Threads: the engine's.

#ifndef CONSILIUM_AGGREGATOR_CORE_ARRIVAL_GROUPS_H_
#define CONSILIUM_AGGREGATOR_CORE_ARRIVAL_GROUPS_H_

#include <cstdint>

#include "aggregator/core/federation.h"

namespace consilium::federation {

// Puts the member, which is granted a task now, into a group; its local steps.
uint32_t JoinGroup(StepContext& step, RunState& run, const SiteId& site);

// Whether the member has an update that is accepted and in no version yet.
bool WaitsForVersion(const Participant& participant);

// An update of the member's open task came, whatever becomes of it: how long it took.
void LearnPace(const StepContext& step, const RunState& run, Participant& participant,
               const TaskState& task);
// It was accepted: waits for its group, or is to be folded.
void ArriveInGroup(RunState& run, const SiteId& site, TaskId task);
// It was refused, or the member leaves: nobody waits for it.
void MissGroup(RunState& run, const SiteId& site);
// The latest time of the group `number`, where it is not over.
void CloseGroup(RunState& run, uint64_t number);
// All groups end; what has arrived is in the buffer.
void CloseGroups(RunState& run);

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_ARRIVAL_GROUPS_H_
