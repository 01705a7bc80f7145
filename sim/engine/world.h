// What the virtual aggregator and the virtual sites share: time, the messages between them, and the
// vectors that are on their way.
//
// Ownership: the Simulation owns it. Threads: one.

#ifndef CONSILIUM_SIM_ENGINE_WORLD_H_
#define CONSILIUM_SIM_ENGINE_WORLD_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "aggregator/core/events.h"
#include "protocol/core/ids.h"
#include "sim/engine/activity.h"
#include "sim/engine/event_queue.h"
#include "sim/engine/idle_vectors.h"
#include "sim/engine/network.h"
#include "sim/engine/outcomes.h"
#include "sim/engine/site_record.h"
#include "sim/engine/training_pool.h"
#include "sim/engine/wall_workers.h"
#include "site_agent/core/events.h"

namespace consilium {

using Weights = std::shared_ptr<const std::vector<float>>;

inline constexpr size_t kNoSite = ~size_t{0};

// An input of the aggregator. Over a stream of `site`, it is lost where that stream has ended;
// from a process of it (an upload), where that process has.
struct ToAggregator {
  federation::Event event;
  size_t site = kNoSite;
  uint32_t stream = 0;       // 0: not over a stream.
  Incarnation process = {};  // 0: whoever it is.
  uint64_t life = 0;         // From that process of the aggregator itself; 0: from elsewhere.
};
// Something happens to the aggregator.
struct AggregatorTurn {
  enum class Kind : uint8_t {
    kDurable,  // Its journal up to `sequence`, if it is still that process.
    kCrashes,
  };
  Kind kind = Kind::kCrashes;
  Sequence sequence = {};
  uint64_t life = 0;
};
// An input of the site of that index, lost likewise.
struct ToSite {
  size_t site = 0;
  site::Event event;
  uint32_t stream = 0;
  Incarnation process = {};
};
// Something happens to a site itself. `number` says to which process, stream, training or
// evaluation; 0: to whichever it has.
struct SiteTurn {
  enum class Kind : uint8_t {
    kAttach,  // It opens its control stream.
    kStreamBreaks,
    kTrained,    // Computing a task is done.
    kEvaluated,  // So is an evaluation.
    kCrashes,
    kStarts,    // Its process starts again.
    kLeaves,    // For good.
    kGoesAway,  // Its window closes.
    kComesBack,
  };
  size_t site = 0;
  Kind kind = Kind::kAttach;
  uint64_t number = 0;
};

struct World {
  EventQueue<std::variant<ToAggregator, ToSite, SiteTurn, AggregatorTurn>> queue;
  std::vector<SiteLink> links;  // By site index.
  absl::flat_hash_map<SiteId, size_t> site_index;
  ActivityLog activity;
  // Trained updates in the sites' outboxes, by id.
  absl::flat_hash_map<Digest, OutboxUpdate> updates;
  // What sites hold between their tasks; models by version, for as long as a site holds them.
  std::shared_ptr<IdleVectors> idle;
  std::map<std::pair<RunId, Version>, std::weak_ptr<const IdleVector>> fetched;
  Outcomes outcomes;
  const RunRecord* record = nullptr;  // Of a recorded run whose pace is kept; may be null.
  TrainingPool* trainings = nullptr;  // Null: each is computed when it is done.
  WallWorkers* workers = nullptr;     // On a wall clock, and null on virtual time.
  // The run has ended at the aggregator: sites come back once more to hear of it, and stay.
  bool is_ending = false;
  // Trainings that failed since the newest version, by site index; all of the run; and what the
  // last one said. A site tries such a task again, from the same base with the same outcome.
  absl::flat_hash_map<size_t, uint64_t> failures_by_site;
  uint64_t failures = 0;
  absl::Status last_failure;
  // The first thing that went wrong in a way that no engine handles; ends the simulation.
  absl::Status failure;

  absl::Time now() const { return queue.now(); }
  void After(absl::Duration delay, SiteTurn turn) { queue.Schedule(now() + delay, turn); }

  // Over the site's stream.
  void SendToAggregator(size_t site, MessageOrder order, federation::Event event);
  // Over the stream that the aggregator has of the site; nothing where it has none.
  void SendToSite(const SiteId& site, MessageOrder order, site::Event event);
  // The answer to an upload of that process. Where it is lost, the process hears that sending
  // failed.
  struct Answer {
    Incarnation process;
    RunId run;
    TaskId task;
    site::Event event;
  };
  void AnswerUpload(const SiteId& site, Answer answer);
  // It will never have an answer: the process hears that, when that has come to it. `event` is not
  // looked at.
  void BreakUpload(const SiteId& site, Answer answer, absl::string_view why);

  // Whether a message still finds the stream, or the process, that it belongs to.
  bool IsCurrent(size_t site, uint32_t stream) const {
    return stream == 0 || links[site].stream() == stream;
  }

 private:
  static site::SendFailed FailureOf(SiteLink& link, const Answer& answer, absl::string_view why);
  template <typename Message>
  void Post(size_t site, MessageOrder order, Message message);
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_WORLD_H_
