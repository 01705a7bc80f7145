#include "sim/cluster/rank_leader.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "models/metrics/metrics.h"
#include "models/spec/run_plan.h"
#include "protocol/core/status_macros.h"
#include "protocol/wire/hash.h"
#include "sim/engine/saved_simulation.h"

namespace consilium {

class RankLeader::Worker final : public TaskWorker {
 public:
  Worker(RankLeader& leader, int rank) : leader_(leader), rank_(rank) {}
  absl::StatusOr<SiteWork::Trained> Train(const SiteWork& work,
                                          const SiteWork::TrainingTask& task) override {
    return leader_.Train(rank_, work.id(), task);
  }
  absl::StatusOr<v1::MetricSums> Evaluate(const SiteWork& work,
                                          const SiteWork::EvaluationTask& task) override {
    return leader_.Evaluate(rank_, work.id(), task);
  }

 private:
  RankLeader& leader_;
  const int rank_;
};

RankLeader::RankLeader(Ranks& ranks, RankRoster roster, std::unique_ptr<Trainer> prober)
    : ranks_(ranks),
      roster_(std::move(roster)),
      prober_(std::move(prober)),
      peers_(static_cast<size_t>(ranks.size())) {}

RankLeader::~RankLeader() {
  ranks_.StopReceiving();
  reader_.join();
}

absl::StatusOr<std::unique_ptr<RankLeader>> RankLeader::Gather(Ranks& ranks,
                                                               const RankIdentity& own,
                                                               std::unique_ptr<Trainer> prober) {
  CONSILIUM_ASSIGN_OR_RETURN(RankRoster roster, RankRoster::Gather(ranks, own));
  std::unique_ptr<RankLeader> leader(new RankLeader(ranks, std::move(roster), std::move(prober)));
  leader->reader_ = std::thread([leader = leader.get()] { leader->Read(); });
  return leader;
}

std::vector<std::unique_ptr<TaskWorker>> RankLeader::Workers() {
  std::vector<std::unique_ptr<TaskWorker>> workers;
  // One of each rank before a second of any.
  for (uint32_t turn = 0; turn < kRankThreadsMax; ++turn) {
    for (int rank = 1; rank < ranks_.size(); ++rank) {
      if (turn >= roster_.threads(rank)) continue;
      workers.push_back(std::make_unique<Worker>(*this, rank));
    }
  }
  return workers;
}

std::vector<std::vector<std::unique_ptr<TaskWorker>>> RankLeader::WorkersByRank() {
  std::vector<std::vector<std::unique_ptr<TaskWorker>>> workers;
  for (int rank = 1; rank < ranks_.size(); ++rank) {
    auto& of_rank = workers.emplace_back();
    for (uint32_t i = 0; i < roster_.threads(rank); ++i) {
      of_rank.push_back(std::make_unique<Worker>(*this, rank));
    }
  }
  return workers;
}

// --- Before a simulation ------------------------------------------------------------------------

bool RankLeader::AllPreparedOrLost() const {
  if (!status_.ok()) return true;
  for (size_t rank = 1; rank < peers_.size(); ++rank) {
    if (!peers_[rank].prepared.has_value()) return false;
  }
  return true;
}

absl::Status RankLeader::CheckPrepared(int rank, const v1::RankPrepared& ours) {
  const v1::RankPrepared& theirs = *peers_[static_cast<size_t>(rank)].prepared;
  if (!theirs.error().empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(roster_.NameOf(rank), " can not simulate: ", theirs.error()));
  }
  if (theirs.data() != ours.data()) {
    return absl::FailedPreconditionError(absl::StrCat(
        roster_.NameOf(rank), " has other data than rank 0: the files are not the same"));
  }
  if (theirs.probe() != ours.probe()) {
    return absl::FailedPreconditionError(
        absl::StrCat(roster_.NameOf(rank),
                     " computes otherwise than rank 0, in the first steps of a training already: "
                     "with another processor or another library the models would not be those of "
                     "one process"));
  }
  return absl::OkStatus();
}

absl::Status RankLeader::Prepare(const v1::RunPlan& plan, const v1::Scenario& scenario,
                                 const FederationData& data) {
  CONSILIUM_ASSIGN_OR_RETURN(const ModelGraph graph, GraphOf(plan));
  v1::RankMessage message;
  *message.mutable_prepare()->mutable_plan() = plan;
  *message.mutable_prepare()->mutable_scenario() = scenario;
  const std::string bytes = message.SerializeAsString();
  if (bytes.size() > kRankMessageBytesMax) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("run config and scenario have %d bytes, ranks take at most %d",
                        bytes.size(), kRankMessageBytesMax));
  }
  {
    absl::MutexLock lock(&mu_);
    elements_ = graph.layout.elements();
    ranks_.SetValuesMax(2 * elements_);  // An update, and what its site keeps with it.
    for (size_t rank = 1; rank < peers_.size(); ++rank) {
      Peer& peer = peers_[rank];
      peer.is_asked = true;
      peer.prepared.reset();
      peer.standardisation = nullptr;
      peer.base = nullptr;
      ranks_.Send(static_cast<int>(rank), bytes, {});
    }
  }
  v1::RankPrepared ours;
  ours.set_data(ToBytes(DigestOf(data)));
  ours.set_probe(ToBytes(ProbeTraining(plan, data, *prober_)));
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(this, &RankLeader::AllPreparedOrLost));
  CONSILIUM_RETURN_IF_ERROR(status_);
  for (int rank = 1; rank < ranks_.size(); ++rank) {
    CONSILIUM_RETURN_IF_ERROR(CheckPrepared(rank, ours));
  }
  return absl::OkStatus();
}

// --- Tasks --------------------------------------------------------------------------------------

void RankLeader::SendQuestion(int rank, Question question) {
  Peer& peer = peers_[static_cast<size_t>(rank)];
  v1::RankMessage message;
  v1::RankTask& out = *message.mutable_task();
  out = std::move(question.task);
  std::vector<Ranks::Values> values;
  if (peer.standardisation != question.standardisation) {
    *out.mutable_standardisation() = *question.standardisation;
    peer.standardisation = question.standardisation;
  }
  if (peer.base != question.base) {
    out.set_base_elements(question.base->size());
    values.push_back(question.base);
    peer.base = question.base;
  }
  if (question.kept != nullptr) {
    out.set_kept_elements(question.kept->size());
    values.push_back(question.kept);
  }
  ranks_.Send(rank, message.SerializeAsString(), std::move(values));
}

absl::StatusOr<RankLeader::Answer> RankLeader::Ask(int rank, Question question) {
  const auto pending = std::make_shared<Pending>();
  pending->rank = rank;
  if (question.task.evaluate() != v1::SPLIT_UNSPECIFIED) pending->asked = Asked::kEvaluation;
  absl::MutexLock lock(&mu_);
  if (!status_.ok()) return absl::UnavailableError(status_.message());
  const uint64_t number = ++numbers_;
  pending_[number] = pending;
  question.task.set_number(number);
  SendQuestion(rank, std::move(question));
  const auto settled = [this, &pending]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return pending->answer.has_value() || !status_.ok();
  };
  mu_.Await(absl::Condition(&settled));
  pending_.erase(number);
  if (!pending->answer.has_value()) return absl::UnavailableError(status_.message());
  return *std::move(pending->answer);
}

absl::StatusOr<SiteWork::Trained> RankLeader::Train(int rank, const SiteId& site,
                                                    const SiteWork::TrainingTask& task) {
  Question question = {{}, task.standardisation, task.payload, task.kept};
  question.task.set_site_id(site.value());
  question.task.set_task_id(task.id.value());
  question.task.set_local_steps(task.local_steps);
  CONSILIUM_ASSIGN_OR_RETURN(Answer answer, Ask(rank, std::move(question)));
  return std::move(answer.trained);
}

absl::StatusOr<v1::MetricSums> RankLeader::Evaluate(int rank, const SiteId& site,
                                                    const SiteWork::EvaluationTask& task) {
  Question question = {{}, task.standardisation, task.payload, task.kept};
  question.task.set_site_id(site.value());
  question.task.set_evaluate(task.split);
  CONSILIUM_ASSIGN_OR_RETURN(Answer answer, Ask(rank, std::move(question)));
  return std::move(answer.metrics);
}

absl::Status RankLeader::TakeResult(const v1::RankResult& result, RankFrame frame) {
  const auto found = pending_.find(result.number());
  if (found == pending_.end() || found->second->rank != frame.rank ||
      found->second->answer.has_value()) {
    return absl::InternalError(
        absl::StrCat(roster_.NameOf(frame.rank), " trained what it was not asked"));
  }
  Pending& pending = *found->second;
  if (result.code() != 0) {
    const auto code = static_cast<absl::StatusCode>(result.code());
    if (result.code() > static_cast<uint32_t>(absl::StatusCode::kUnauthenticated) ||
        code == absl::StatusCode::kUnavailable || !frame.values.empty()) {
      return UnknownMessage(roster_.NameOf(frame.rank));
    }
    pending.answer = absl::Status(code, result.message());
    return absl::OkStatus();
  }
  CONSILIUM_ASSIGN_OR_RETURN(pending.answer, pending.asked == Asked::kEvaluation
                                                 ? EvaluatedOf(result, frame)
                                                 : TrainedOf(result, std::move(frame)));
  return absl::OkStatus();
}

absl::StatusOr<RankLeader::Answer> RankLeader::EvaluatedOf(const v1::RankResult& result,
                                                           const RankFrame& frame) const {
  if (!frame.values.empty() || !result.has_metrics())
    return UnknownMessage(roster_.NameOf(frame.rank));
  if (const absl::Status sums = CheckMetricSums(result.metrics()); !sums.ok()) {
    return absl::InternalError(absl::StrCat(roster_.NameOf(frame.rank),
                                            " sends an evaluation that is none: ", sums.message()));
  }
  return Answer{{}, result.metrics()};
}

absl::StatusOr<RankLeader::Answer> RankLeader::TrainedOf(const v1::RankResult& result,
                                                         RankFrame frame) const {
  const uint64_t kept = result.kept_elements();
  if (result.delta_elements() != elements_ || (kept != 0 && kept != elements_) ||
      frame.values.size() != elements_ + kept) {
    return absl::InternalError(
        absl::StrFormat("%s sends an update of %d values, with %d kept, for a model of %d",
                        roster_.NameOf(frame.rank), result.delta_elements(), kept, elements_));
  }
  SiteWork::Trained trained;
  trained.examples = result.examples();
  trained.output.steps = result.steps();
  trained.output.mean_loss = result.mean_loss();
  trained.output.patients = result.patients();
  const auto middle = frame.values.begin() + static_cast<ptrdiff_t>(elements_);
  trained.output.kept.assign(middle, frame.values.end());
  frame.values.resize(elements_);
  trained.output.delta = std::move(frame.values);
  return Answer{std::move(trained), {}};
}

absl::Status RankLeader::TakeFrame(RankFrame frame) {
  v1::RankMessage message;
  absl::MutexLock lock(&mu_);
  Peer& peer = peers_.at(static_cast<size_t>(frame.rank));
  if (!message.ParseFromString(frame.message)) return UnknownMessage(roster_.NameOf(frame.rank));
  if (message.has_result()) return TakeResult(message.result(), std::move(frame));
  if (!message.has_prepared() || !peer.is_asked || !frame.values.empty()) {
    return UnknownMessage(roster_.NameOf(frame.rank));
  }
  peer.is_asked = false;
  peer.prepared = std::move(*message.mutable_prepared());
  return absl::OkStatus();
}

// --- Its end ------------------------------------------------------------------------------------

void RankLeader::Read() {
  while (true) {
    absl::StatusOr<RankFrame> frame = ranks_.Receive();
    const absl::Status taken = frame.ok() ? TakeFrame(*std::move(frame)) : frame.status();
    if (taken.ok()) continue;
    absl::MutexLock lock(&mu_);
    status_ = roster_.WhyItEnds(taken);
    return;
  }
}

absl::Status RankLeader::status() {
  absl::MutexLock lock(&mu_);
  return status_;
}

}  // namespace consilium
