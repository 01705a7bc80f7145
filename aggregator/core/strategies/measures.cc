#include "aggregator/core/strategies/measures.h"

#include "absl/strings/str_cat.h"
#include "aggregator/core/strategies/functional_staleness.h"
#include "aggregator/core/strategies/robust_combine.h"
#include "aggregator/core/strategies/stages.h"
#include "aggregator/core/strategies/zeno.h"

namespace consilium::federation {
namespace {

bool DecidesByDistances(const Stages& stages) {
  return stages.robust.has_value() && NeedsDistances(*stages.robust);
}

}  // namespace

VectorProgram MeasuresOf(const RunState& run, const PendingProgram& pending) {
  VectorProgram program;
  program.result = VectorName::Scratch(0);
  if (DecidesByDistances(run.stages)) AppendDistanceSteps(run, pending.contributions, program);
  if (run.stages.functional.has_value()) AppendLagSteps(run, pending.contributions, program);
  if (run.stages.zeno.has_value()) AppendScoreSteps(run, pending.contributions, program);
  return program;
}

absl::Status DecideByMeasures(const RunState& run, std::span<const double> scalars,
                              PendingProgram& pending) {
  size_t expected = 0;
  for (const VectorStep& step : MeasuresOf(run, pending).steps) expected += ScalarsOf(step);
  if (scalars.size() != expected) {
    return absl::InvalidArgumentError(
        absl::StrCat(scalars.size(), " numbers came, not ", expected));
  }
  if (DecidesByDistances(run.stages)) DecideByDistances(run, scalars, pending);
  if (run.stages.functional.has_value()) DecideByLag(run, scalars, pending.contributions);
  if (run.stages.zeno.has_value()) DecideByScores(run, scalars, pending);
  return absl::OkStatus();
}

}  // namespace consilium::federation
