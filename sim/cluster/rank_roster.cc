#include "sim/cluster/rank_roster.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "protocol/core/status_macros.h"
#include "sim/cluster/host_name.h"
#include "sim/engine/saved_simulation.h"

namespace consilium {
namespace {

// Of a process of this machine.
bool IsGone(int64_t pid) { return kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH; }

}  // namespace

absl::Status UnknownMessage(const std::string& who) {
  return absl::InternalError(absl::StrCat(who, " sends what this program does not say"));
}

absl::Status RankRoster::Take(const RankFrame& frame, const RankIdentity& own) {
  v1::RankMessage message;
  v1::RankHello& hello = hellos_.at(static_cast<size_t>(frame.rank));
  const bool is_hello = message.ParseFromString(frame.message) && message.has_hello();
  const uint32_t threads = message.hello().threads();
  if (!is_hello || hello.threads() != 0 || threads == 0 || threads > kRankThreadsMax) {
    return UnknownMessage(absl::StrCat("rank ", frame.rank));
  }
  hello = std::move(*message.mutable_hello());
  if (!hello.error().empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(NameOf(frame.rank), " can not simulate: ", hello.error()));
  }
  const RankIdentity theirs(hello.identity().begin(), hello.identity().end());
  std::vector<std::string> parts = DifferingParts(own, theirs);
  if (parts.empty()) return absl::OkStatus();
  if (parts.size() > 1) std::erase(parts, kArithmeticPart);
  return absl::FailedPreconditionError(absl::StrCat(
      NameOf(frame.rank), " has another ", absl::StrJoin(parts, " and another "),
      " than rank 0: all ranks run the same program with the same arguments and files, "
      "on processors that compute alike"));
}

absl::StatusOr<RankRoster> RankRoster::Gather(Ranks& ranks, const RankIdentity& own) {
  RankRoster roster(ranks.size());
  for (int i = 1; i < ranks.size(); ++i) {
    CONSILIUM_ASSIGN_OR_RETURN(const RankFrame frame, ranks.Receive());
    CONSILIUM_RETURN_IF_ERROR(roster.Take(frame, own));
  }
  return roster;
}

std::string RankRoster::NameOf(int rank) const {
  return absl::StrFormat("rank %d (%s, process %d)", rank, hello(rank).host(), hello(rank).pid());
}

std::string RankRoster::Describe(absl::string_view what) const {
  std::set<std::string> hosts;
  uint64_t threads = 0;
  for (size_t rank = 1; rank < hellos_.size(); ++rank) {
    hosts.insert(hellos_[rank].host());
    threads += hellos_[rank].threads();
  }
  return absl::StrFormat("%d more ranks on %d machine%s, %d %s at once there", hellos_.size() - 1,
                         hosts.size(), hosts.size() == 1 ? "" : "s", threads, what);
}

absl::Status RankRoster::WhyItEnds(const absl::Status& received) const {
  if (!absl::IsAborted(received)) return received;
  // The other ranks do not end by the launcher's signal (rank_worker.h), so that who is gone from
  // this machine now is the cause of it.
  std::vector<std::string> gone;
  for (size_t rank = 1; rank < hellos_.size(); ++rank) {
    if (hellos_[rank].host() == HostName() && IsGone(hellos_[rank].pid())) {
      gone.push_back(NameOf(static_cast<int>(rank)));
    }
  }
  return absl::AbortedError(
      gone.empty() ? "the launcher asks this job to end; where a rank has died, the launcher's own "
                     "words say which"
                   : absl::StrCat(absl::StrJoin(gone, " and "),
                                  " has died, and the launcher ends this job"));
}

void SayHello(Ranks& ranks, const absl::StatusOr<RankIdentity>& identity, size_t threads) {
  v1::RankMessage message;
  v1::RankHello& hello = *message.mutable_hello();
  if (identity.ok()) {
    for (const auto& [part, digest] : *identity) (*hello.mutable_identity())[part] = digest;
  } else {
    hello.set_error(std::string(identity.status().message()));
  }
  hello.set_threads(static_cast<uint32_t>(threads));
  hello.set_host(HostName());
  hello.set_pid(getpid());
  ranks.Send(0, message.SerializeAsString(), {});
}

void DismissRanks(Ranks& ranks, const absl::Status& end) {
  // After a death, or with a rank that is not to be trusted, no end is waited for.
  const bool at_once =
      absl::IsAborted(end) || absl::IsInternal(end) || absl::IsResourceExhausted(end);
  v1::RankMessage message;
  message.mutable_leave()->set_at_once(at_once);
  for (int rank = 1; rank < ranks.size(); ++rank) {
    ranks.Send(rank, message.SerializeAsString(), {});
  }
  if (at_once) ranks.GiveUpTogether();
}

}  // namespace consilium
