#include "sim/cluster/trial_ranks.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <utility>

#include "absl/strings/str_cat.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

v1::RankTrialResult ToMessage(uint64_t number, const absl::StatusOr<TrialResult>& result) {
  v1::RankTrialResult message;
  message.set_number(number);
  if (!result.ok()) {
    message.set_code(static_cast<uint32_t>(result.status().code()));
    message.set_message(std::string(result.status().message()));
    return message;
  }
  message.set_error(result->error);
  if (!result->error.empty()) return message;
  message.mutable_objectives()->Assign(result->objectives.begin(), result->objectives.end());
  message.mutable_deviations()->Assign(result->deviations.begin(), result->deviations.end());
  message.set_parameters(result->costs.parameters);
  message.set_multiply_adds(result->costs.multiply_adds);
  message.set_virtual_seconds(result->costs.virtual_seconds);
  message.set_upload_bytes(result->costs.upload_bytes);
  message.set_wall_seconds(result->costs.wall_seconds);
  return message;
}

bool AllFinite(const google::protobuf::RepeatedField<double>& numbers) {
  return std::all_of(numbers.begin(), numbers.end(), [](double n) { return std::isfinite(n); });
}

// Whether a rank of this program can have sent it.
bool Fits(const v1::RankTrialResult& message, size_t objectives) {
  if (message.code() > static_cast<uint32_t>(absl::StatusCode::kUnauthenticated)) return false;
  if (message.code() != 0 || !message.error().empty()) {
    return message.objectives().empty() && message.deviations().empty();
  }
  return static_cast<size_t>(message.objectives_size()) == objectives &&
         static_cast<size_t>(message.deviations_size()) == objectives &&
         AllFinite(message.objectives()) && AllFinite(message.deviations()) &&
         std::isfinite(message.virtual_seconds()) && std::isfinite(message.upload_bytes()) &&
         std::isfinite(message.wall_seconds());
}

absl::StatusOr<TrialResult> FromMessage(const v1::RankTrialResult& message) {
  if (message.code() != 0) {
    return absl::Status(static_cast<absl::StatusCode>(message.code()), message.message());
  }
  TrialResult result;
  result.error = message.error();
  result.objectives.assign(message.objectives().begin(), message.objectives().end());
  result.deviations.assign(message.deviations().begin(), message.deviations().end());
  result.costs = {message.parameters(), message.multiply_adds(), message.virtual_seconds(),
                  message.upload_bytes(), message.wall_seconds()};
  return result;
}

}  // namespace

// --- Rank 0 -------------------------------------------------------------------------------------

TrialLeader::TrialLeader(Ranks& ranks, RankRoster roster, TrialRankOptions options)
    : ranks_(ranks), roster_(std::move(roster)), options_(std::move(options)) {
  free_.push_back(options_.places);
  for (int rank = 1; rank < ranks.size(); ++rank) free_.push_back(roster_.threads(rank));
  for (const size_t places : free_) places_ += places;
}

absl::StatusOr<std::unique_ptr<TrialLeader>> TrialLeader::Gather(Ranks& ranks,
                                                                 TrialRankOptions options) {
  CONSILIUM_RETURN_IF_ERROR(options.identity.status());
  CONSILIUM_ASSIGN_OR_RETURN(RankRoster roster, RankRoster::Gather(ranks, *options.identity));
  std::unique_ptr<TrialLeader> leader(
      new TrialLeader(ranks, std::move(roster), std::move(options)));
  leader->reader_ = std::thread([leader = leader.get()] { leader->Read(); });
  return leader;
}

TrialLeader::~TrialLeader() {
  ranks_.StopReceiving();
  reader_.join();
}

std::optional<int> TrialLeader::FreeRank() const {
  const auto found = std::find_if(free_.begin(), free_.end(), [](size_t n) { return n > 0; });
  if (found == free_.end()) return std::nullopt;
  return static_cast<int>(found - free_.begin());
}

absl::StatusOr<TrialResult> TrialLeader::Run(const Trial& trial) {
  {
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(this, &TrialLeader::HasRoomOrEnds));
    CONSILIUM_RETURN_IF_ERROR(status_);
    const int rank = *FreeRank();
    --free_[static_cast<size_t>(rank)];
    if (rank != 0) {
      absl::StatusOr<TrialResult> result = Ask(rank, trial);
      ++free_[static_cast<size_t>(rank)];
      return result;
    }
  }
  absl::StatusOr<TrialResult> result = options_.run(trial);
  absl::MutexLock lock(&mu_);
  ++free_[0];
  return result;
}

absl::StatusOr<TrialResult> TrialLeader::Ask(int rank, const Trial& trial) {
  v1::RankMessage message;
  message.mutable_trial()->set_number(trial.number());
  message.mutable_trial()->set_rung(trial.proposal.rung);
  message.mutable_trial()->mutable_texts()->Assign(trial.texts.begin(), trial.texts.end());
  const auto pending = std::make_shared<Pending>();
  pending->rank = rank;
  pending_[trial.number()] = pending;
  ranks_.Send(rank, message.SerializeAsString(), {});
  const auto settled = [this, &pending]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return pending->result.has_value() || !status_.ok();
  };
  mu_.Await(absl::Condition(&settled));
  pending_.erase(trial.number());
  if (!pending->result.has_value()) return status_;
  return *std::move(pending->result);
}

absl::Status TrialLeader::Take(const RankFrame& frame) {
  v1::RankMessage message;
  absl::MutexLock lock(&mu_);
  if (!message.ParseFromString(frame.message) || !message.has_trial_result() ||
      !Fits(message.trial_result(), options_.objectives)) {
    return UnknownMessage(roster_.NameOf(frame.rank));
  }
  const auto found = pending_.find(message.trial_result().number());
  if (found == pending_.end() || found->second->rank != frame.rank ||
      found->second->result.has_value()) {
    return absl::InternalError(
        absl::StrCat(roster_.NameOf(frame.rank), " tried what it was not asked"));
  }
  found->second->result = FromMessage(message.trial_result());
  return absl::OkStatus();
}

void TrialLeader::Read() {
  while (true) {
    const absl::StatusOr<RankFrame> frame = ranks_.Receive();
    const absl::Status taken = frame.ok() ? Take(*frame) : frame.status();
    if (taken.ok()) continue;
    absl::MutexLock lock(&mu_);
    status_ = roster_.WhyItEnds(taken);
    return;
  }
}

// --- The others ---------------------------------------------------------------------------------

namespace {

// Trials that wait, and threads that run them.
class TrialThreads {
 public:
  TrialThreads(Ranks& ranks, const TrialRankOptions& options) : ranks_(ranks), options_(options) {
    for (size_t i = 0; i < options.places; ++i) threads_.emplace_back([this] { Work(); });
  }
  // Those under way end first.
  ~TrialThreads() {
    {
      absl::MutexLock lock(&mu_);
      ends_ = true;
    }
    for (std::thread& thread : threads_) thread.join();
  }
  void Add(Trial trial) {
    absl::MutexLock lock(&mu_);
    waiting_.push_back(std::move(trial));
  }

 private:
  void Work() {
    while (std::optional<Trial> trial = Next()) {
      v1::RankMessage answer;
      *answer.mutable_trial_result() = ToMessage(trial->number(), options_.run(*trial));
      ranks_.Send(0, answer.SerializeAsString(), {});
    }
  }
  std::optional<Trial> Next() {
    absl::MutexLock lock(&mu_);
    const auto has_news = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return ends_ || !waiting_.empty();
    };
    mu_.Await(absl::Condition(&has_news));
    if (waiting_.empty()) return std::nullopt;
    Trial trial = std::move(waiting_.front());
    waiting_.pop_front();
    return trial;
  }

  Ranks& ranks_;
  const TrialRankOptions& options_;
  absl::Mutex mu_;
  bool ends_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<Trial> waiting_ ABSL_GUARDED_BY(mu_);
  std::vector<std::thread> threads_;
};

absl::StatusOr<Trial> TrialOf(const v1::RankTrial& message, size_t parameters) {
  if (static_cast<size_t>(message.texts_size()) != parameters) {
    return absl::InternalError("rank 0 sends a trial of another search space");
  }
  Trial trial;
  trial.proposal.trial = message.number();
  trial.proposal.rung = message.rung();
  trial.texts.assign(message.texts().begin(), message.texts().end());
  return trial;
}

}  // namespace

absl::Status ServeTrials(Ranks& ranks, const TrialRankOptions& options) {
  SayHello(ranks, options.identity, options.places);
  TrialThreads threads(ranks, options);
  while (true) {
    CONSILIUM_ASSIGN_OR_RETURN(const RankFrame frame, ranks.Receive());
    v1::RankMessage message;
    if (frame.rank != 0) return absl::InternalError("another rank than 0 says what to do");
    if (!message.ParseFromString(frame.message)) return UnknownMessage("rank 0");
    if (message.has_leave()) {
      if (!message.leave().at_once()) return absl::OkStatus();
      ranks.GiveUpTogether();
      return absl::AbortedError("another rank has died, or the launcher ends this job");
    }
    if (!message.has_trial()) return UnknownMessage("rank 0");
    CONSILIUM_ASSIGN_OR_RETURN(Trial trial, TrialOf(message.trial(), options.parameters));
    threads.Add(std::move(trial));
  }
}

}  // namespace consilium
