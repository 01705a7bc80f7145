// What must hold after every input of a site's engine, whatever the inputs are. Watches one
// engine from its first input; says nothing while all is well.

#ifndef CONSILIUM_TESTS_SITE_AGENT_CORE_INVARIANTS_H_
#define CONSILIUM_TESTS_SITE_AGENT_CORE_INVARIANTS_H_

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/site_agent/core/messages.h"

namespace consilium::site {

class Invariants {
 public:
  // After one input and what followed from it. Empty, or what is broken.
  std::string Check(const SiteEngine& engine, const Event& event,
                    const std::vector<Action>& actions);

 private:
  using Task = std::pair<RunId, TaskId>;
  using Model = std::pair<RunId, Version>;

  void See(const SiteEngine& engine, const Event& event);
  void See(const SiteEngine& engine, const Action& action);
  void CheckPhases(const SiteEngine& engine);
  void CheckBounds(const SiteEngine& engine);
  void CheckReceipts(const Task& id, const TaskState& task);
  void Break(const std::string& what) { broken_ += what + "\n"; }

  std::string broken_;
  std::optional<Task> training_;
  std::set<Task> trained_;         // TrainDone came for it while it was in training.
  std::map<Digest, Task> sealed_;  // What lies in the outbox.
  std::map<Digest, Task> kept_;    // What was kept with an update, and not dropped.
  std::map<RunId, Digest> left_;   // The update that left what the run's next training begins with.
  std::map<RunId, Digest> read_;   // What an evaluation that is running reads of it.
  std::set<Model> here_;
  std::set<Model> evaluation_asked_;
  std::map<RunId, Version> tested_;
  std::map<Task, TaskPhase> phases_;
  std::map<Task, std::pair<std::string, std::string>> receipts_;
};

}  // namespace consilium::site

#endif  // CONSILIUM_TESTS_SITE_AGENT_CORE_INVARIANTS_H_
