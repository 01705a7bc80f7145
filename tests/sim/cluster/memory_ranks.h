// Ranks within one process: threads that hand frames to each other. What MPI carries, this does,
// with the same limits.

#ifndef CONSILIUM_TESTS_SIM_CLUSTER_MEMORY_RANKS_H_
#define CONSILIUM_TESTS_SIM_CLUSTER_MEMORY_RANKS_H_

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "consilium/v1/cluster.pb.h"
#include "sim/cluster/ranks.h"

namespace consilium {

class MemoryRanks {
 public:
  explicit MemoryRanks(int size) {
    for (int rank = 0; rank < size; ++rank) {
      places_.push_back(std::make_unique<Place>(*this, rank, size));
    }
  }

  Ranks& at(int rank) { return *places_.at(static_cast<size_t>(rank)); }
  // What Receive of that rank comes to when nothing else has come.
  void Fail(int rank, absl::Status why) {
    places_.at(static_cast<size_t>(rank))->Fail(std::move(why));
  }

 private:
  class Place final : public Ranks {
   public:
    Place(MemoryRanks& all, int rank, int size) : all_(all), rank_(rank), size_(size) {}
    int rank() const override { return rank_; }
    int size() const override { return size_; }
    int here() const override { return size_; }

    void Send(int to, std::string message, std::vector<Values> values) override {
      RankFrame frame;
      frame.rank = rank_;
      frame.message = std::move(message);
      for (const Values& part : values) {
        if (part != nullptr) frame.values.insert(frame.values.end(), part->begin(), part->end());
      }
      all_.places_.at(static_cast<size_t>(to))->Take(std::move(frame));
    }
    absl::StatusOr<RankFrame> Receive() override {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(this, &Place::HasNews));
      if (frames_.empty() || stopped_) {
        return failure_.ok() ? absl::CancelledError("stopped") : failure_;
      }
      RankFrame frame = std::move(frames_.front());
      frames_.pop_front();
      if (frame.values.size() > values_max_) return absl::ResourceExhaustedError("too many values");
      return frame;
    }
    void StopReceiving() override {
      absl::MutexLock lock(&mu_);
      stopped_ = true;
    }
    void SetValuesMax(uint64_t count) override {
      absl::MutexLock lock(&mu_);
      values_max_ = count;
    }
    void GiveUpTogether() override {}

    void Fail(absl::Status why) {
      absl::MutexLock lock(&mu_);
      failure_ = std::move(why);
    }

   private:
    bool HasNews() const { return stopped_ || !frames_.empty() || !failure_.ok(); }
    void Take(RankFrame frame) {
      absl::MutexLock lock(&mu_);
      frames_.push_back(std::move(frame));
    }

    MemoryRanks& all_;
    const int rank_;
    const int size_;
    absl::Mutex mu_;
    std::deque<RankFrame> frames_;
    uint64_t values_max_ = 0;
    bool stopped_ = false;
    absl::Status failure_;
  };

  std::vector<std::unique_ptr<Place>> places_;
};

}  // namespace consilium

#endif  // CONSILIUM_TESTS_SIM_CLUSTER_MEMORY_RANKS_H_
