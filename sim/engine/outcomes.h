// What the costly parts of a simulation (training, evaluations, vector programs) come to, in the
// order in which they come. Kept in a log, they are known when the simulation begins again after
// its process died: it then runs from the start through the same events with no vectors, computes
// none of this, and reaches the state of its last checkpoint in a fraction of the time (docs/adr).
//
// Ownership: borrows the log. Threads: one.

#ifndef CONSILIUM_SIM_ENGINE_OUTCOMES_H_
#define CONSILIUM_SIM_ENGINE_OUTCOMES_H_

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aggregator/core/actions.h"
#include "aggregator/core/events.h"
#include "aggregator/merge/memory_vector_store.h"
#include "consilium/v1/coordination.pb.h"
#include "consilium/v1/transfer.pb.h"
#include "protocol/wire/vector_program.h"
#include "sim/engine/run_log.h"
#include "sim/engine/site_work.h"

namespace consilium {

// An update in its site's outbox, and what the aggregator finds of it on arrival.
struct OutboxUpdate {
  std::shared_ptr<const std::vector<float>> delta;
  double norm = 0;
  bool is_finite = true;
};

struct TrainedUpdate {
  std::shared_ptr<v1::UpdateHeader> header;  // Without incarnation.
  OutboxUpdate update;
  // As TrainOutput says; null where nothing is.
  std::shared_ptr<const std::vector<float>> kept;
};

class Outcomes {
 public:
  // With a null log everything is computed, and nothing is kept.
  explicit Outcomes(RunLog* log = nullptr) : log_(log) {}

  // What `compute` gives (FAILED_PRECONDITION where the training failed), likewise, as RunProgram.
  // An update has `elements` floats.
  // Where the log knows the outcome, the vectors are placeholders of the right length, which
  // Simulation::Restore replaces. DATA_LOSS where the log tells of something else: it is another
  // simulation's.
  absl::StatusOr<TrainedUpdate> Train(
      uint64_t elements, absl::FunctionRef<absl::StatusOr<SiteWork::Update>()> compute);
  absl::StatusOr<v1::MetricSums> Evaluate(
      absl::FunctionRef<absl::StatusOr<v1::MetricSums>()> compute);
  absl::StatusOr<ProgramResult> Run(const federation::Compute& action, MemoryVectorStore& store);

  // For the journal. Nothing where the log has them already.
  absl::Status AddInput(Sequence sequence, absl::Time now, const federation::Event& event);
  absl::Status AddAccepted(const Digest& update, std::span<const float> delta);

  bool IsRecalling() const { return log_ != nullptr && log_->is_recalling(); }

 private:
  bool IsKeeping() const { return log_ != nullptr && !log_->is_recalling(); }
  absl::StatusOr<TrainedUpdate> RecallTraining(uint64_t elements);
  absl::Status Recall(char kind, google::protobuf::Message& message);
  absl::Status Keep(char kind, const google::protobuf::Message& message);
  absl::Status CheckLength(const v1::UpdateHeader& header, uint64_t elements) const;
  std::shared_ptr<const std::vector<float>> Placeholder(uint64_t elements);

  RunLog* log_;
  std::shared_ptr<const std::vector<float>> placeholder_;
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_OUTCOMES_H_
