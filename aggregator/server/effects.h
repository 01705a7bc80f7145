// Executes what the engine asked for, once the input that caused it is durable: directives go to
// the sites' streams, receipts to the uploads that wait, programs to the pool, timers to theirs.
//
// Ownership: borrows the parts of the server, which outlive it. Threads: the engine's.

#ifndef CONSILIUM_AGGREGATOR_SERVER_EFFECTS_H_
#define CONSILIUM_AGGREGATOR_SERVER_EFFECTS_H_

#include <functional>
#include <map>
#include <set>

#include "aggregator/core/actions.h"
#include "aggregator/core/engine.h"
#include "aggregator/server/engine_input.h"
#include "aggregator/server/links.h"
#include "aggregator/server/programs.h"
#include "aggregator/server/receipts.h"
#include "aggregator/server/run_vectors.h"
#include "aggregator/server/timers.h"
#include "protocol/core/ids.h"
#include "protocol/wire/vector_program.h"

namespace consilium {

class Effects {
 public:
  struct Parts {
    const federation::FederationEngine& engine;
    const ReceiptSigner& receipts;
    LinkTable& links;
    RunVectors& vectors;
    Programs& programs;
    Timers& timers;
    // Puts an input before all that wait.
    std::function<void(EngineInput)> post;
  };
  explicit Effects(Parts parts) : parts_(std::move(parts)) {}

  // `cause` is the input that the action follows from.
  void Execute(const federation::Action& action, EngineInput& cause);
  // Whether anything of the run's updates or models names this vector for ever no more.
  bool IsForgotten(const RunId& run, const VectorName& vector) const;
  // At recovery: what was forgotten before stays so.
  void NoteForgotten(const federation::Forget& forget);

 private:
  void Do(const federation::Compute& compute, EngineInput& cause);
  void Do(const federation::DrawInitialModel& draw, EngineInput& cause);
  void Do(const federation::Welcome& welcome, EngineInput& cause);
  void Do(const federation::RefuseAttach& refusal, EngineInput& cause);
  void Do(const federation::Detach& detach, EngineInput& cause);
  void Do(const federation::OfferRun& offer, EngineInput& cause);
  void Do(const federation::StartRun& start, EngineInput& cause);
  void Do(const federation::OfferTask& offer, EngineInput& cause);
  void Do(const federation::AnnounceModel& announcement, EngineInput& cause);
  void Do(const federation::AnnounceToMembers& announcement, EngineInput& cause);
  void Do(const federation::SendReceipt& receipt, EngineInput& cause);
  void Do(const federation::RefuseUpdate& refusal, EngineInput& cause);
  void Do(const federation::EndRun& end, EngineInput& cause);
  void Do(const federation::SetTimer& timer, EngineInput& cause);
  void Do(const federation::Forget& forget, EngineInput& cause);
  void Do(const federation::PurgeRun& purge, EngineInput& cause);
  void Do(const federation::Alarm& alarm, EngineInput& cause);
  void Send(const SiteId& site, v1::Directive directive);
  const federation::RunState* FindRun(const RunId& run) const;

  Parts parts_;
  std::map<RunId, std::set<VectorName>> forgotten_;
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_EFFECTS_H_
