// The control streams of the sites, as the engine thread sees them: where a directive goes, and how
// a stream is ended. The gRPC side of a stream is coordination_service.h.
//
// Ownership: LinkTable shares the links with their streams. Threads: as said at each.

#ifndef CONSILIUM_AGGREGATOR_SERVER_LINKS_H_
#define CONSILIUM_AGGREGATOR_SERVER_LINKS_H_

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "consilium/v1/coordination.pb.h"
#include "protocol/core/ids.h"

namespace consilium {

// One stream. Threads: any.
class SiteLink {
 public:
  virtual ~SiteLink() = default;
  // The site is attached by this stream: sends the Welcome. False where the stream has ended in the
  // meantime; its end is then the caller's to report, else the stream reports it.
  virtual bool Welcome() = 0;
  // Queues the directive; never waits. A stream whose queue is full ends with BUSY, one that has
  // ended drops it.
  virtual void Send(v1::Directive directive) = 0;
  // Ends the stream with this status, behind what is queued.
  virtual void End(const absl::Status& status) = 0;
};

// Which stream is a site's live one: the one that got the last Welcome. Threads: any.
class LinkTable {
 public:
  // `link` is the site's from now on.
  void Put(const SiteId& site, std::shared_ptr<SiteLink> link) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    links_[site] = std::move(link);
  }
  // Null where the site has none.
  std::shared_ptr<SiteLink> Find(const SiteId& site) const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    const auto it = links_.find(site);
    return it == links_.end() ? nullptr : it->second;
  }
  // Forgets `link` where it still is the site's.
  void Remove(const SiteId& site, const SiteLink* link) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    if (const auto it = links_.find(site); it != links_.end() && it->second.get() == link) {
      links_.erase(it);
    }
  }
  std::vector<std::shared_ptr<SiteLink>> All() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    std::vector<std::shared_ptr<SiteLink>> all;
    for (const auto& [site, link] : links_) all.push_back(link);
    return all;
  }
  size_t size() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return links_.size();
  }

 private:
  mutable absl::Mutex mu_;
  std::map<SiteId, std::shared_ptr<SiteLink>> links_ ABSL_GUARDED_BY(mu_);
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_LINKS_H_
