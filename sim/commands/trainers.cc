#include "sim/commands/trainers.h"

#include <sched.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "site_agent/train/cpu_trainer.h"
#include "site_agent/train/fused_trainer.h"

namespace consilium {
namespace {

// With a trainer of its own.
class WorkerOnThread final : public TaskWorker {
 public:
  explicit WorkerOnThread(std::unique_ptr<Trainer> trainer)
      : trainer_(std::move(trainer)), worker_(*trainer_) {}
  absl::StatusOr<SiteWork::Trained> Train(const SiteWork& work,
                                          const SiteWork::TrainingTask& task) override {
    return worker_.Train(work, task);
  }
  absl::StatusOr<v1::MetricSums> Evaluate(const SiteWork& work,
                                          const SiteWork::EvaluationTask& task) override {
    return worker_.Evaluate(work, task);
  }

 private:
  const std::unique_ptr<Trainer> trainer_;
  LocalWorker worker_;
};

}  // namespace

std::unique_ptr<Trainer> MakeTrainer(TrainerKind kind) {
  if (kind == TrainerKind::kFused) return std::make_unique<FusedTrainer>();
  return std::make_unique<CpuTrainer>();
}

absl::string_view NameOf(TrainerKind kind) {
  return kind == TrainerKind::kFused ? "fused" : "libtorch";
}

absl::string_view ArithmeticOf(TrainerKind kind) {
  return kind == TrainerKind::kFused ? "fused-2" : "libtorch";
}

size_t ThreadsOf(const TrainersOptions& options, const Ranks* ranks) {
  if (options.threads > 0) return options.threads;
  const size_t processors = std::max(1U, std::thread::hardware_concurrency());
  if (ranks == nullptr) return processors;
  // Launchers bind ranks to processors unless they are told not to.
  cpu_set_t bound_to;
  const bool known = sched_getaffinity(0, sizeof(bound_to), &bound_to) == 0;
  const size_t bound = known ? static_cast<size_t>(CPU_COUNT(&bound_to)) : processors;
  const size_t share = processors / static_cast<size_t>(std::max(1, ranks->here()));
  return std::max<size_t>(1, std::min(bound, share));
}

std::unique_ptr<TrainingPool> MakeTrainers(const TrainersOptions& options, const Ranks* ranks,
                                           RemoteTrainers* remote) {
  TrainingPool::Options pool;
  pool.threads = ThreadsOf(options, ranks);
  pool.remote = remote;
  pool.trainer_name = std::string(ArithmeticOf(options.kind));
  return std::make_unique<TrainingPool>(std::move(pool), [&] { return MakeTrainer(options.kind); });
}

std::vector<std::vector<std::unique_ptr<TaskWorker>>> WorkersOnThreads(
    const TrainersOptions& options) {
  std::vector<std::vector<std::unique_ptr<TaskWorker>>> workers(ThreadsOf(options, nullptr));
  for (auto& place : workers) {
    place.push_back(std::make_unique<WorkerOnThread>(MakeTrainer(options.kind)));
  }
  return workers;
}

}  // namespace consilium
