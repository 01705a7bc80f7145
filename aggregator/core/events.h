// What can happen to a federation: the inputs of FederationEngine. Each becomes one entry of the
// journal (journal_codec.h) before anything that follows from it leaves the process; the whole
// state is the fold of these events, so recovery, replay and simulation are the same code.
//
// Events carry all that is needed; the engine looks nothing up. Plain structs: the simulator makes
// millions a second.
//
// Ownership: values; large parts are shared and immutable. Threads: as any value.

#ifndef CONSILIUM_AGGREGATOR_CORE_EVENTS_H_
#define CONSILIUM_AGGREGATOR_CORE_EVENTS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "consilium/v1/coordination.pb.h"
#include "consilium/v1/errors.pb.h"
#include "consilium/v1/run_config.pb.h"
#include "protocol/core/ids.h"

namespace consilium::federation {

// The aggregator's process started: no site has a live stream, no program is running.
struct Started {};

// An operator added the site (its enrolment token was spent): it attaches with this lease alone.
struct SiteAdded {
  SiteId site;
  Digest lease_hash = {};  // SHA-256 of the lease; the journal holds no secret.
  // kAgain: an operator lets a site that has attached before begin anew with the store that it has,
  // because its certificate ended while it was away.
  enum class Occasion : uint8_t { kFirst, kAgain } occasion = Occasion::kFirst;
};
struct SiteRemoved {
  SiteId site;
};

// A control stream opened. The certificate was checked; the lease is the engine's to check.
struct SiteAttached {
  SiteId site;
  Incarnation incarnation;
  Digest lease_presented_hash = {};
  Digest lease_next_hash = {};
  struct Held {
    RunId run;
    TaskId task;
    Digest update = {};
  };
  std::vector<Held> held_receipts;  // Accepted updates whose end the site has not heard of.
  struct Progress {
    RunId run;
    TaskId newest_task;
  };
  std::vector<Progress> runs;
};
// The welcomed control stream of that incarnation ended. (The end of a refused one is no event.)
struct SiteLost {
  SiteId site;
  Incarnation incarnation;
};
struct LeaseConfirmed {
  SiteId site;
  Digest lease_hash = {};
};

struct RunSubmitted {
  RunId run;
  std::shared_ptr<const v1::RunPlan> plan;  // Resolved (models/spec/run_plan.h).
};
struct RunDecided {
  SiteId site;
  RunId run;
  Digest plan_hash = {};
  enum class Answer : uint8_t { kApproved, kRefused } answer = Answer::kRefused;
  v1::Reason reason = v1::REASON_UNSPECIFIED;
  std::string message;
  uint64_t train_examples = 0;
};
struct StatisticsReported {
  SiteId site;
  std::shared_ptr<const v1::StatisticsReport> report;
};

// A sealed blob lies on disk, synced, under `update`; no record of it exists yet. Size, hash and
// header were checked by the shell; what it found out about the values is here.
struct UpdateStaged {
  SiteId site;  // From the certificate.
  RunId run;
  TaskId task;
  Incarnation incarnation;
  Version base;
  Digest base_model_id = {};
  Digest layout_hash = {};
  Digest update = {};  // UpdateIdOf(header).
  uint64_t examples = 0;
  uint32_t steps = 0;
  double training_loss = 0;
  double norm = 0;  // ‖Δ‖₂ in f64.
  enum class Values : uint8_t { kFinite, kNotFinite } values = Values::kFinite;
};

// A program (Compute, DrawInitialModel) ended; its result lies synced on disk.
struct ComputeDone {
  RunId run;
  uint64_t program = 0;
  std::vector<double> scalars;
  Digest payload_root = {};
};

struct EvaluationReported {
  SiteId site;
  RunId run;
  Version version;
  v1::Split split = v1::SPLIT_UNSPECIFIED;
  std::shared_ptr<const v1::MetricSums> metrics;
};

struct Timer {
  enum class Kind : uint8_t {
    kStartDeadline = 1,    // Of the statistics phase.
    kBarrierDeadline = 2,  // `number` is the round's version.
    kClosingDeadline = 3,  // `number`: 1 validation, 2 test.
    kInterval = 4,         // `number` is the version that it began with.
    kRest = 5,             // `number`: the how manieth of the run (fair_shares.h).
    kGroupLatest = 6,      // `number` is the group's (arrival_groups.h).
    kSlot = 7,             // `number` is the slot's (training_slots.h).
    kRetryWait = 8,        // `number` is the round's version (rounds.h).
  };
  RunId run;
  Kind kind = Kind::kStartDeadline;
  uint64_t number = 0;
  friend auto operator<=>(const Timer&, const Timer&) = default;
};
struct TimerFired {
  Timer timer;
};

struct StopRequested {
  RunId run;
  std::string operator_name;
};
struct PurgeRequested {
  RunId run;
  std::string operator_name;
};

using Event = std::variant<Started, SiteAdded, SiteRemoved, SiteAttached, SiteLost, LeaseConfirmed,
                           RunSubmitted, RunDecided, StatisticsReported, UpdateStaged, ComputeDone,
                           EvaluationReported, TimerFired, StopRequested, PurgeRequested>;

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_EVENTS_H_
