#include "aggregator/server/programs.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "aggregator/merge/run_program.h"
#include "aggregator/merge/vector_store.h"
#include "models/spec/initial_values.h"
#include "models/spec/run_plan.h"
#include "protocol/core/failpoint.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "protocol/wire/limits.h"

namespace consilium {
namespace {

absl::StatusOr<ProgramResult> DrawModel(const v1::RunPlan& plan, VectorStore& vectors) {
  CONSILIUM_ASSIGN_OR_RETURN(const ModelGraph graph, GraphOf(plan));
  const std::vector<float> values = InitialValues(graph, plan.config().seed());
  if (values.size() != vectors.elements()) {
    return absl::InternalError("the model drawn is not of the run's size");
  }
  CONSILIUM_ASSIGN_OR_RETURN(std::unique_ptr<VectorWriter> writer,
                             vectors.OpenForWriting(VectorName::Model(Version(0)), Version(0)));
  for (size_t shard = 0; shard < ShardCount(values.size()); ++shard) {
    CONSILIUM_RETURN_IF_ERROR(
        writer->Write(shard, std::span<const float>(values).subspan(
                                 shard * kShardElements, ShardSize(values.size(), shard))));
  }
  CONSILIUM_RETURN_IF_ERROR(writer->Finish());
  ProgramResult result;
  result.payload_root = MerkleRootOf(
      {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)});
  return result;
}

bool MaySucceedLater(const absl::Status& status) {
  return absl::IsResourceExhausted(status) || absl::IsUnavailable(status);
}

}  // namespace

Programs::Programs(RunVectors& vectors, int threads,
                   std::function<void(federation::ComputeDone)> done)
    : vectors_(vectors),
      done_(std::move(done)),
      shards_(std::max(1, threads - 1), limits::kEngineQueueMax),
      jobs_(1, 2 * limits::kRunsMax) {}

Programs::~Programs() { stopped_.Notify(); }

void Programs::Run(const federation::Compute& compute, uint64_t elements) {
  Start(std::make_shared<const Job>(Job{
      compute.run, compute.program,
      [this, run = compute.run, code = compute.code, elements]() -> absl::StatusOr<ProgramResult> {
        CONSILIUM_ASSIGN_OR_RETURN(const std::shared_ptr<SealedVectors> vectors,
                                   vectors_.Get(run, elements));
        return RunProgram(code, *vectors, &shards_);
      }}));
}

void Programs::Draw(const federation::DrawInitialModel& draw, uint64_t elements,
                    std::shared_ptr<const v1::RunPlan> plan) {
  Start(std::make_shared<const Job>(Job{
      draw.run, draw.program,
      [this, run = draw.run, elements, plan = std::move(plan)]() -> absl::StatusOr<ProgramResult> {
        CONSILIUM_ASSIGN_OR_RETURN(const std::shared_ptr<SealedVectors> vectors,
                                   vectors_.Get(run, elements));
        return DrawModel(*plan, *vectors);
      }}));
}

void Programs::Start(std::shared_ptr<const Job> job) {
  jobs_.Run([this, job = std::move(job)] { Do(job); });
}

void Programs::Do(const std::shared_ptr<const Job>& job) {
  if (stopped_.HasBeenNotified()) return;
  absl::StatusOr<ProgramResult> result = job->compute();
  if (result.ok()) {
    Failpoint("aggregator.compute_done");
    federation::ComputeDone done;
    done.run = job->run;
    done.program = job->program;
    done.scalars = std::move(result->scalars);
    done.payload_root = result->payload_root;
    done_(std::move(done));
    return;
  }
  if (!MaySucceedLater(result.status())) {
    spdlog::critical("run {}: program {} can not be run: {}", job->run.value(), job->program,
                     result.status().ToString());
    return;
  }
  spdlog::error("run {}: program {} failed and is tried again: {}", job->run.value(), job->program,
                result.status().ToString());
  if (!stopped_.WaitForNotificationWithTimeout(kProgramRetryDelay)) Start(job);
}

}  // namespace consilium
