// A running agent: the engine's thread, the work thread, the link and the certificate's renewal,
// put together. It carries the engine's actions to whoever executes them, and their answers back.
//
// Ownership: borrows its parts. Threads: the calls from any.

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_AGENT_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_AGENT_H_

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "protocol/core/clock.h"
#include "protocol/core/ids.h"
#include "site_agent/core/actions.h"
#include "site_agent/core/engine.h"
#include "site_agent/core/trainer.h"
#include "site_agent/runtime/certificate_renewal.h"
#include "site_agent/runtime/egress_gate.h"
#include "site_agent/runtime/ending.h"
#include "site_agent/runtime/engine_loop.h"
#include "site_agent/runtime/link.h"
#include "site_agent/runtime/site_store.h"
#include "site_agent/runtime/site_work.h"

namespace consilium::site {

struct AgentOptions {
  SiteOptions site;
  EgressOptions egress;
};

// What an agent is given; all outlive it.
struct AgentParts {
  SiteStore* store = nullptr;
  Trainer* trainer = nullptr;
  // Told when the agent can not go on, and why. Stop() is still to be called.
  Ending* ending = nullptr;
};

class Agent final : public ActionSink {
 public:
  // Recovers the engine from the journal, takes the next incarnation and starts all threads.
  // FAILED_PRECONDITION where the site has not enrolled; DATA_LOSS where the journal is damaged.
  static absl::StatusOr<std::unique_ptr<Agent>> Start(const AgentParts& parts,
                                                      const AgentOptions& options);
  ~Agent() override;

  // Ends links and threads. What was computed but not recorded is computed again after a restart.
  void Stop();

  // Records a person's approval, of one run or all, and looks again at runs that wait for one.
  absl::Status ApproveRun(const RunId& run, const Digest& plan_hash);
  absl::Status SetAllRuns(AllRuns all_runs);
  // Ends this site's part in a run, durably. What is being sent may still arrive.
  absl::Status WithdrawRun(const RunId& run);

  // After an approval or an import: decides about the runs that waited for it.
  void LookAgainAtWaitingRuns();

  // As EngineLoop::Ask().
  bool Ask(const std::function<void(const SiteEngine&)>& question) { return loop_->Ask(question); }

  // FAILED_PRECONDITION where a run that goes on trains on the data set of one of these contracts:
  // its rows stay what they were when the run began, or its updates could not be trained again.
  absl::Status CheckNoLiveRunUses(const std::vector<Digest>& contracts);

  // What `status --json` prints of a live agent: link, releases, runs.
  nlohmann::json Status();

 private:
  Agent(const AgentParts& parts, SiteIdentity identity)
      : store_(parts.store), ending_(parts.ending), identity_(std::move(identity)) {}

  void Execute(const SiteEngine& engine, const Action& action) override;
  void OnCommitted(const Event& event) override;
  void OnFailed(const absl::Status& why) override;

  // One for each kind of action.
  void Do(const SiteEngine& engine, const CheckPlan& action);
  void Do(const SiteEngine& engine, const ComputeStatistics& action);
  void Do(const SiteEngine& engine, const Fetch& action);
  void Do(const SiteEngine& engine, const Train& action);
  void Do(const SiteEngine& engine, const StopTraining& action);
  void Do(const SiteEngine& engine, const Evaluate& action);
  void Do(const SiteEngine& engine, const Send& action);
  void Do(const SiteEngine& engine, const ReportDecision& action);
  void Do(const SiteEngine& engine, const ReportStatistics& action);
  void Do(const SiteEngine& engine, const ReportEvaluation& action);
  void Do(const SiteEngine& engine, const DropUpdate& action);
  void Do(const SiteEngine& engine, const DropModel& action);
  void Do(const SiteEngine& engine, const DropKept& action);
  void Do(const SiteEngine& engine, const SetTimer& action);
  void Do(const SiteEngine& engine, const Alarm& action);

  absl::Status RemoveOrphanBlobs(const SiteEngine& engine);
  bool FillHello(v1::Hello& hello);
  // Ends the agent with the reason and what a person can do about it.
  void EndRefused(const absl::Status& why);
  // For `status`, once the agent has ended. REASON_UNSPECIFIED: the aggregator takes the site.
  void NoteRefusedForGood(v1::Reason reason);

  SiteStore* const store_;
  Ending* const ending_;
  const SiteIdentity identity_;
  const SystemClock clock_;
  Incarnation incarnation_;
  // Which blob holds a version; the engine's thread's.
  std::map<std::pair<RunId, Version>, Digest> models_;

  std::unique_ptr<EgressGate> gate_;
  std::unique_ptr<SiteWork> work_;
  std::unique_ptr<Link> link_;
  std::unique_ptr<CertificateRenewal> renewal_;
  std::unique_ptr<EngineLoop> loop_;
};

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_AGENT_H_
