// The live streams of one kind: counts them against limits, ends those that have been silent for
// too long, and those of a site that was revoked.
//
// Ownership: refers to streams, which take themselves out before they die. Threads: any; one thread
// of its own watches the clock.

#ifndef CONSILIUM_PROTOCOL_RPC_STREAM_REGISTRY_H_
#define CONSILIUM_PROTOCOL_RPC_STREAM_REGISTRY_H_

#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "protocol/core/ids.h"

namespace consilium {

class StreamRegistry {
 public:
  struct Limits {
    int streams_max = 0;
    int streams_per_site_max = 0;
    absl::Duration busy_retry_after;
  };

  class Stream {
   public:
    // Ends the stream with `why`, from a thread of the registry or of its caller. It must neither
    // block nor call the registry; the stream may have ended already.
    virtual void End(const absl::Status& why) = 0;

   protected:
    ~Stream() = default;
  };

  explicit StreamRegistry(Limits limits);
  ~StreamRegistry();
  StreamRegistry(const StreamRegistry&) = delete;
  StreamRegistry& operator=(const StreamRegistry&) = delete;

  // BUSY where a limit is reached; `stream` is not in then.
  absl::Status Enter(Stream* stream, const SiteId& site);
  // After this no call of End() is under way or follows.
  void Leave(Stream* stream);

  // `stream` is ended with `why` at `deadline`; replaces its deadline of before. Of no effect once
  // it has left.
  void SetDeadline(Stream* stream, absl::Time deadline, const absl::Status& why);
  void ClearDeadline(Stream* stream);

  void EndAllOf(const SiteId& site, const absl::Status& why);
  int size() const;

 private:
  struct Entry {
    SiteId site;
    absl::Time deadline = absl::InfiniteFuture();
    absl::Status why;
  };

  void Watch();
  absl::Time NextDeadline() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Limits limits_;
  mutable absl::Mutex mu_;
  absl::flat_hash_map<Stream*, Entry> streams_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<SiteId, int> per_site_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  absl::CondVar changed_;
  std::thread watcher_;
};

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_RPC_STREAM_REGISTRY_H_
