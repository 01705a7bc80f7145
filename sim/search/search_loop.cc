#include "sim/search/search_loop.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "protocol/core/status_macros.h"

namespace consilium {
namespace {

// A trial of the same texts at another rung is another trial.
std::string TrialKey(const Trial& trial) {
  return absl::StrCat(trial.proposal.rung, "/", KeyOf(trial.texts));
}

class SearchLoop {
 public:
  explicit SearchLoop(SearchLoopInput input) : input_(std::move(input)) {
    const absl::MutexLock lock(&mutex_);
    for (Trial& trial : input_.known) Keep(std::move(trial));
  }

  // Until there is nothing more to try. Many threads at once.
  void Work() {
    const absl::MutexLock lock(&mutex_);
    while (status_.ok()) {
      std::optional<Trial> trial = Next();
      if (trial.has_value()) {
        Run(*std::move(trial));
      } else if (running_ == 0 || !status_.ok()) {
        break;
      } else {
        news_.Wait(&mutex_);
      }
    }
    news_.SignalAll();
  }

  absl::StatusOr<std::vector<Trial>> Take() {
    const absl::MutexLock lock(&mutex_);
    if (!status_.ok()) return status_;
    std::sort(trials_.begin(), trials_.end(),
              [](const Trial& a, const Trial& b) { return a.number() < b.number(); });
    return std::move(trials_);
  }

 private:
  std::optional<Trial> Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const uint64_t most = input_.space.trials_max();
    if (most > 0 && run_ >= most) return std::nullopt;
    std::optional<Proposal> proposal = input_.algorithm->Ask();
    if (!proposal.has_value()) {
      status_.Update(input_.algorithm->status());
      return std::nullopt;
    }
    Trial trial;
    trial.texts = TextsAt(input_.space, proposal->point);
    trial.proposal = *std::move(proposal);
    return trial;
  }

  void Run(Trial trial) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const std::string key = TrialKey(trial);
    const auto [found, is_new] = by_key_.try_emplace(key);
    if (!is_new && found->second.has_value()) {
      Copy(*found->second, std::move(trial));
    } else if (!is_new) {
      awaiting_.emplace(key, std::move(trial));
    } else {
      ++run_;
      ++running_;
      mutex_.Unlock();
      absl::StatusOr<TrialResult> result = input_.evaluate(trial);
      mutex_.Lock();
      --running_;
      if (result.ok()) {
        trial.result = *std::move(result);
        Tell(std::move(trial));
      } else {
        status_.Update(result.status());
      }
    }
    news_.SignalAll();
  }

  // The trial, and those that waited for it.
  void Tell(Trial trial) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const std::string key = TrialKey(trial);
    if (!Announce(trial)) return;
    Keep(std::move(trial));
    const auto [begin, end] = awaiting_.equal_range(key);
    std::vector<Trial> alike;
    for (auto waiting = begin; waiting != end; ++waiting) {
      alike.push_back(std::move(waiting->second));
    }
    awaiting_.erase(begin, end);
    for (Trial& other : alike) Copy(*by_key_.at(key), std::move(other));
  }

  // The result of trials_[`index`] for `trial`, too.
  void Copy(size_t index, Trial trial) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    trial.same_as = trials_[index].number();
    trial.result = trials_[index].result;
    if (Announce(trial)) Keep(std::move(trial));
  }

  bool Announce(const Trial& trial) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    status_.Update(input_.on_known(trial));
    return status_.ok();
  }

  void Keep(Trial trial) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const size_t objectives = static_cast<size_t>(input_.space.objectives_size());
    input_.algorithm->Tell(
        trial.proposal,
        trial.succeeded()
            ? LossesOf(input_.space, trial.result.objectives)
            : std::vector<double>(objectives, std::numeric_limits<double>::infinity()));
    if (!trial.same_as.has_value()) {
      run_ = std::max<uint64_t>(run_, ++kept_);
      by_key_[TrialKey(trial)] = trials_.size();
    }
    trials_.push_back(std::move(trial));
  }

  SearchLoopInput input_;
  absl::Mutex mutex_;
  absl::CondVar news_;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::vector<Trial> trials_ ABSL_GUARDED_BY(mutex_);  // In the order in which they were known.
  uint64_t kept_ ABSL_GUARDED_BY(mutex_) = 0;          // Of them, those that were run.
  uint64_t run_ ABSL_GUARDED_BY(mutex_) = 0;           // And those that are being run.
  size_t running_ ABSL_GUARDED_BY(mutex_) = 0;
  // Index into trials_; nothing while it is being run.
  std::map<std::string, std::optional<size_t>> by_key_ ABSL_GUARDED_BY(mutex_);
  // Of the same key as one that is being run.
  std::multimap<std::string, Trial> awaiting_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<std::vector<Trial>> RunSearchLoop(SearchLoopInput input) {
  const size_t workers = std::max<size_t>(1, input.workers);
  SearchLoop loop(std::move(input));
  {
    std::vector<std::jthread> pool;
    for (size_t i = 0; i < workers; ++i) pool.emplace_back([&loop] { loop.Work(); });
  }
  return loop.Take();
}

}  // namespace consilium
