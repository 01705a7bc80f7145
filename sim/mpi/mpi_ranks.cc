// Ranks over MPI (Open MPI 4.1; what is used of it is in MPI 3).
//
// One thread makes all calls, so that the library need not know of others (MPI_THREAD_FUNNELED),
// and none of them waits: Open MPI waits by spinning, and a rank that waits shall not use a
// processor. In between the thread rests, the longer the less there is to do; not while something
// is on its way, which moves on only as calls are made.
//
// A frame is a message of tag kHeadTag (how many values each part has, then the frame's own
// message) and each part's values in messages of tag kValuesTag, full ones but for the last of a
// part.

#include <mpi.h>
#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <deque>
#include <list>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "protocol/core/status_macros.h"
#include "sim/cluster/ranks.h"

namespace consilium {
namespace {

constexpr int kHeadTag = 1;
constexpr int kValuesTag = 2;
constexpr size_t kValuesPerMessage = size_t{1} << 26;  // MPI counts in ints.
using PartSizes = std::array<uint64_t, Ranks::kPartsMax>;
constexpr absl::Duration kRestMin = absl::Microseconds(10);
constexpr absl::Duration kRestMax = absl::Milliseconds(1);
// What is said to ranks of which one has died may never be taken.
constexpr absl::Duration kLastWordsMax = absl::Seconds(1);

static_assert(std::endian::native == std::endian::little);

// Set by SIGTERM, whatever thread it comes to.
std::atomic<bool> told_to_end{false};
static_assert(std::atomic<bool>::is_always_lock_free);

void NoteSignal(int) { told_to_end = true; }

// Rank 0 ends in order where it can; the others when rank 0 says so (rank_worker.h). A second
// signal ends rank 0 as ever.
void TakeSignals(int rank) {
  struct sigaction action = {};
  action.sa_handler = rank == 0 ? NoteSignal : SIG_IGN;
  action.sa_flags = rank == 0 ? static_cast<int>(SA_RESETHAND | SA_RESTART) : SA_RESTART;
  sigaction(SIGTERM, &action, nullptr);
}

absl::Status Checked(int code, absl::string_view what) {
  if (code == MPI_SUCCESS) return absl::OkStatus();
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(code, text, &length);
  return absl::InternalError(
      absl::StrCat("MPI: ", what, ": ", absl::string_view(text, static_cast<size_t>(length))));
}

class MpiRanks final : public Ranks {
 public:
  MpiRanks() : thread_([this] { Run(); }) {}
  ~MpiRanks() override {
    {
      absl::MutexLock lock(&mu_);
      ends_ = true;
      work_.Signal();
    }
    thread_.join();
  }

  absl::Status WaitUntilThere() {
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&is_there_));
    return failure_;
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int here() const override { return here_; }

  void Send(int to, std::string message, std::vector<Values> values) override {
    Outgoing out;
    out.to = to;
    PartSizes sizes = {};
    for (size_t i = 0; i < values.size(); ++i) {
      sizes.at(i) = values[i] == nullptr ? 0 : values[i]->size();
    }
    out.head.resize(sizeof(sizes));
    memcpy(out.head.data(), sizes.data(), sizeof(sizes));
    out.head += message;
    out.values = std::move(values);
    absl::MutexLock lock(&mu_);
    to_send_.push_back(std::move(out));
    work_.Signal();
  }

  absl::StatusOr<RankFrame> Receive() override {
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(this, &MpiRanks::HasNews));
    if (!stop_receiving_ && !received_.empty()) {
      RankFrame frame = std::move(received_.front());
      received_.pop_front();
      return frame;
    }
    if (!failure_.ok()) return failure_;
    return absl::CancelledError("no more is received");
  }

  void StopReceiving() override {
    absl::MutexLock lock(&mu_);
    stop_receiving_ = true;
  }

  void SetValuesMax(uint64_t count) override {
    absl::MutexLock lock(&mu_);
    values_max_ = count;
  }

  void GiveUpTogether() override {
    absl::MutexLock lock(&mu_);
    is_alone_ = true;
  }

 private:
  struct Outgoing {
    int to = 0;
    std::string head;
    std::vector<Values> values;
    std::vector<MPI_Request> requests;
  };
  struct Incoming {
    RankFrame frame;
    std::vector<MPI_Request> requests;
  };

  bool HasNews() const ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return stop_receiving_ || !received_.empty() || !failure_.ok();
  }

  void Fail(const absl::Status& why) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    failure_.Update(why);
  }

  // --- On the thread alone ---

  absl::Status Join() {
    // A process that keeps its memory to itself can not be read from by its neighbour.
    setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", /*overwrite=*/0);
    int provided = 0;
    CONSILIUM_RETURN_IF_ERROR(
        Checked(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "can not join"));
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    if (provided < MPI_THREAD_FUNNELED) return absl::InternalError("MPI: knows no threads");
    MPI_Comm here = MPI_COMM_NULL;
    CONSILIUM_RETURN_IF_ERROR(Checked(
        MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &here),
        "can not tell machines apart"));
    MPI_Comm_size(here, &here_);
    MPI_Comm_free(&here);
    TakeSignals(rank_);
    return absl::OkStatus();
  }

  void Run() {
    const absl::Status joined = Join();
    {
      absl::MutexLock lock(&mu_);
      failure_ = joined;
      is_there_ = true;
    }
    if (!joined.ok()) return;
    absl::Duration rest = kRestMin;
    absl::Time ends_since = absl::InfiniteFuture();
    while (true) {
      const absl::StatusOr<bool> did = Turn();
      if (!did.ok()) return Fail(did.status());  // Nothing more of this library is called.
      if (told_to_end.exchange(false)) {
        Fail(absl::AbortedError("the launcher asks this job to end"));
      }
      rest = *did ? kRestMin : std::min(2 * rest, kRestMax);
      const bool is_moving = !sending_.empty() || receiving_.has_value();
      if (is_moving && !*did) std::this_thread::yield();
      absl::MutexLock lock(&mu_);
      const bool all_sent = to_send_.empty() && sending_.empty();
      if (ends_) ends_since = std::min(ends_since, absl::Now());
      if (ends_ && (all_sent || (is_alone_ && absl::Now() - ends_since > kLastWordsMax))) break;
      if (!*did && !is_moving && to_send_.empty()) work_.WaitWithTimeout(&mu_, rest);
    }
    bool is_alone = false;
    {
      absl::MutexLock lock(&mu_);
      is_alone = is_alone_;
    }
    if (!is_alone) MPI_Finalize();  // Waits for the others to come to it.
  }

  // Whether there was something to do.
  absl::StatusOr<bool> Turn() {
    CONSILIUM_ASSIGN_OR_RETURN(const bool sent, TurnSending());
    CONSILIUM_ASSIGN_OR_RETURN(const bool received, TurnReceiving());
    return sent || received;
  }

  absl::StatusOr<bool> TurnSending() {
    std::list<Outgoing> begun;
    {
      absl::MutexLock lock(&mu_);
      begun.swap(to_send_);
    }
    bool did = !begun.empty();
    for (Outgoing& out : begun) CONSILIUM_RETURN_IF_ERROR(Begin(out));
    sending_.splice(sending_.end(), begun);
    for (auto out = sending_.begin(); out != sending_.end();) {
      CONSILIUM_ASSIGN_OR_RETURN(const bool done, AreDone(out->requests));
      out = done ? sending_.erase(out) : std::next(out);
      did = did || done;
    }
    return did;
  }

  absl::Status Begin(Outgoing& out) {
    const auto begin = [&out](const void* data, size_t count, MPI_Datatype type, int tag) {
      out.requests.push_back(MPI_REQUEST_NULL);
      return Checked(MPI_Isend(data, static_cast<int>(count), type, out.to, tag, MPI_COMM_WORLD,
                               &out.requests.back()),
                     absl::StrCat("can not send to rank ", out.to));
    };
    CONSILIUM_RETURN_IF_ERROR(begin(out.head.data(), out.head.size(), MPI_BYTE, kHeadTag));
    for (const Values& part : out.values) {
      const size_t size = part == nullptr ? 0 : part->size();
      for (size_t at = 0; at < size; at += kValuesPerMessage) {
        const size_t count = std::min(kValuesPerMessage, size - at);
        CONSILIUM_RETURN_IF_ERROR(begin(part->data() + at, count, MPI_FLOAT, kValuesTag));
      }
    }
    return absl::OkStatus();
  }

  static absl::StatusOr<bool> AreDone(std::vector<MPI_Request>& requests) {
    int done = 0;
    CONSILIUM_RETURN_IF_ERROR(Checked(
        MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE),
        "a transfer has failed"));
    return done != 0;
  }

  absl::StatusOr<bool> TurnReceiving() {
    if (!receiving_.has_value()) {
      CONSILIUM_ASSIGN_OR_RETURN(const bool began, BeginReceiving());
      if (!began) return false;
    }
    CONSILIUM_ASSIGN_OR_RETURN(const bool done, AreDone(receiving_->requests));
    if (!done) return false;
    absl::MutexLock lock(&mu_);
    received_.push_back(std::move(receiving_->frame));
    receiving_.reset();
    return true;
  }

  absl::StatusOr<bool> BeginReceiving() {
    int found = 0;
    MPI_Message message = MPI_MESSAGE_NULL;
    MPI_Status status;
    CONSILIUM_RETURN_IF_ERROR(
        Checked(MPI_Improbe(MPI_ANY_SOURCE, kHeadTag, MPI_COMM_WORLD, &found, &message, &status),
                "can not receive"));
    if (found == 0) return false;
    int bytes = 0;
    MPI_Get_count(&status, MPI_BYTE, &bytes);
    PartSizes sizes = {};
    const std::string who = absl::StrCat("rank ", status.MPI_SOURCE);
    if (bytes < static_cast<int>(sizeof(sizes)) ||
        static_cast<size_t>(bytes) > sizeof(sizes) + kRankMessageBytesMax) {
      return absl::ResourceExhaustedError(
          absl::StrFormat("%s sends a message of %d bytes, at most %d are accepted", who, bytes,
                          kRankMessageBytesMax));
    }
    std::string head(static_cast<size_t>(bytes), '\0');
    CONSILIUM_RETURN_IF_ERROR(Checked(
        MPI_Mrecv(head.data(), bytes, MPI_BYTE, &message, MPI_STATUS_IGNORE), "can not receive"));
    memcpy(sizes.data(), head.data(), sizeof(sizes));
    uint64_t room = 0;
    {
      absl::MutexLock lock(&mu_);
      room = values_max_;
    }
    for (const uint64_t size : sizes) {
      if (size > room) {
        return absl::ResourceExhaustedError(absl::StrFormat(
            "%s sends %s values, more than belong to the model", who, absl::StrJoin(sizes, "+")));
      }
      room -= size;
    }
    receiving_.emplace();
    receiving_->frame.rank = status.MPI_SOURCE;
    receiving_->frame.message = head.substr(sizeof(sizes));
    CONSILIUM_RETURN_IF_ERROR(BeginValues(sizes, *receiving_));
    return true;
  }

  static absl::Status BeginValues(const PartSizes& sizes, Incoming& in) {
    in.frame.values.resize(std::accumulate(sizes.begin(), sizes.end(), uint64_t{0}));
    float* next = in.frame.values.data();
    for (const uint64_t size : sizes) {
      for (uint64_t at = 0; at < size; at += kValuesPerMessage) {
        const uint64_t count = std::min<uint64_t>(kValuesPerMessage, size - at);
        in.requests.push_back(MPI_REQUEST_NULL);
        CONSILIUM_RETURN_IF_ERROR(
            Checked(MPI_Irecv(next, static_cast<int>(count), MPI_FLOAT, in.frame.rank, kValuesTag,
                              MPI_COMM_WORLD, &in.requests.back()),
                    "can not receive"));
        next += count;
      }
    }
    return absl::OkStatus();
  }

  int rank_ = 0;
  int size_ = 1;
  int here_ = 1;
  std::list<Outgoing> sending_;  // Which MPI reads where they are.
  std::optional<Incoming> receiving_;

  absl::Mutex mu_;
  absl::CondVar work_;
  bool is_there_ ABSL_GUARDED_BY(mu_) = false;
  bool ends_ ABSL_GUARDED_BY(mu_) = false;
  bool is_alone_ ABSL_GUARDED_BY(mu_) = false;
  bool stop_receiving_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t values_max_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
  std::list<Outgoing> to_send_ ABSL_GUARDED_BY(mu_);
  std::deque<RankFrame> received_ ABSL_GUARDED_BY(mu_);
  std::thread thread_;  // The last: it uses the others from its first line on.
};

}  // namespace

absl::StatusOr<std::unique_ptr<Ranks>> JoinRanks() {
  auto ranks = std::make_unique<MpiRanks>();
  CONSILIUM_RETURN_IF_ERROR(ranks->WaitUntilThere());
  return std::unique_ptr<Ranks>(std::move(ranks));
}

}  // namespace consilium
