#include "aggregator/core/strategies/control_variates.h"

#include "aggregator/core/strategies/combine.h"
#include "aggregator/core/strategies/vector_steps.h"

namespace consilium::federation {

std::optional<VectorName> ControlOf(const RunState& run, Version version) {
  if (run.stages.control == ControlStage::kNone || version == Version(0)) return std::nullopt;
  return VectorName::Control(version);
}

uint64_t PayloadElements(const RunState& run, Version version) {
  return ControlOf(run, version).has_value() ? 2 * run.elements : run.elements;
}

void AppendControl(const RunState& run, const PendingProgram& pending, VectorProgram& program) {
  program.control = ControlOf(run, pending.makes);
  if (!program.control.has_value()) return;
  const VectorName& next = *program.control;
  const std::optional<VectorName> current = ControlOf(run, run.current());
  const double rate = run.plan->config().training().optimizer().sgd().learning_rate();
  const double examples = ExamplesOfMembers(run);
  double heard = 0;  // Σ p_i
  for (const Contribution& entry : pending.contributions) {
    heard += static_cast<double>(run.participants.find(entry.site)->second.train_examples);
  }
  if (current.has_value()) program.steps.push_back(Axpy(next, *current, 1 - heard / examples));
  for (const Contribution& entry : pending.contributions) {
    const Participant& site = run.participants.find(entry.site)->second;
    const double share = static_cast<double>(site.train_examples) / examples;
    const double steps = site.tasks.find(entry.task)->second.steps;
    program.steps.push_back(Axpy(next, VectorName::Update(entry.update), -share / (steps * rate)));
  }
  // What is not finite must not become a version.
  program.steps.push_back(NormSquared(next));
}

}  // namespace consilium::federation
