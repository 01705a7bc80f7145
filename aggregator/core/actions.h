// What FederationEngine asks of its shell. Data only: the shell executes and reports back as
// events. No action may be executed before the event that caused it is durable in the journal
// (protocol/core/commit_barrier.h).
//
// Directives to a site that has no live stream are dropped by the shell: the engine says
// everything again when the site attaches.
//
// Ownership: values. Threads: as any value.

#ifndef CONSILIUM_AGGREGATOR_CORE_ACTIONS_H_
#define CONSILIUM_AGGREGATOR_CORE_ACTIONS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "aggregator/core/events.h"
#include "protocol/core/ids.h"
#include "protocol/wire/vector_program.h"

namespace consilium::federation {

// Run a program over the run's vectors; answer with ComputeDone. Emitted again after Started
// until it is answered; running it twice gives the same bytes.
struct Compute {
  RunId run;
  uint64_t program = 0;
  VectorProgram code;
};
// Draw version 0 from the spec's initialisers (models/spec/initial_values.h) into Model(0);
// answer with ComputeDone.
struct DrawInitialModel {
  RunId run;
  uint64_t program = 0;
};

// Directives: coordination.proto says what each means.
struct Welcome {
  SiteId site;
  Incarnation incarnation;
};
struct RefuseAttach {  // End the stream that this incarnation tried to open.
  SiteId site;
  Incarnation incarnation;
  v1::Reason reason = v1::REASON_UNSPECIFIED;
  std::string message;
};
struct Detach {  // End the live stream.
  SiteId site;
  v1::Reason reason = v1::REASON_UNSPECIFIED;
  std::string message;
};
struct OfferRun {
  SiteId site;
  RunId run;
  std::shared_ptr<const v1::RunPlan> plan;
  Digest plan_hash = {};
};
struct StartRun {
  SiteId site;
  RunId run;
  Digest layout_hash = {};
  std::shared_ptr<const v1::Standardisation> standardisation;
};
struct OfferTask {
  SiteId site;
  RunId run;
  TaskId task;
  Version base_min;
  uint32_t local_steps = 0;
};
struct AnnounceModel {
  SiteId site;
  RunId run;
  Version version;
  Digest model_id = {};
  uint64_t payload_bytes = 0;
  v1::Split evaluate = v1::SPLIT_UNSPECIFIED;
};
// The same to every member that has a live stream, in the order of `members`: one action however
// many they are.
struct AnnounceToMembers {
  std::shared_ptr<const std::vector<SiteId>> members;
  AnnounceModel model;  // Its site is empty.
};
inline AnnounceModel AnnouncementTo(const SiteId& member, const AnnounceToMembers& announcement) {
  AnnounceModel model = announcement.model;
  model.site = member;
  return model;
}
// ACCEPTED answers the upload; INCLUDED and NOT_INCLUDED go over the control stream.
struct SendReceipt {
  SiteId site;
  v1::Receipt::Kind kind = v1::Receipt::KIND_UNSPECIFIED;
  RunId run;
  TaskId task;
  Digest update = {};
  Sequence sequence;
  Version version;
  double coefficient = 0;
};
// Answers the upload. The staged blob may go.
struct RefuseUpdate {
  SiteId site;
  RunId run;
  TaskId task;
  Digest update = {};
  v1::Reason reason = v1::REASON_UNSPECIFIED;
  std::string message;
};
struct EndRun {
  SiteId site;
  RunId run;
  Version last;
  Version result;
  std::string why;
};

struct SetTimer {
  Timer timer;
  absl::Time at;
};
// Retention: nothing will name this vector again.
struct Forget {
  RunId run;
  VectorName vector;
};
// All vectors of the run may go.
struct PurgeRun {
  RunId run;
};
// A person should look.
struct Alarm {
  v1::Reason reason = v1::REASON_UNSPECIFIED;
  SiteId site;
  RunId run;
  std::string message;
};

using Action = std::variant<Compute, DrawInitialModel, Welcome, RefuseAttach, Detach, OfferRun,
                            StartRun, OfferTask, AnnounceModel, AnnounceToMembers, SendReceipt,
                            RefuseUpdate, EndRun, SetTimer, Forget, PurgeRun, Alarm>;

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_ACTIONS_H_
