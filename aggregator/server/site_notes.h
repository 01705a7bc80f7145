// What is written down about a site that has attached: when it was seen, with which software, and
// that a join file which it did not use is void. Nothing waits for it: the engine thread says so
// and goes on, and of a site that attaches again and again the newest note alone is kept.
//
// Ownership: borrows the directory. Threads: any.

#ifndef CONSILIUM_AGGREGATOR_SERVER_SITE_NOTES_H_
#define CONSILIUM_AGGREGATOR_SERVER_SITE_NOTES_H_

#include <map>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "aggregator/server/site_directory.h"
#include "protocol/core/clock.h"
#include "protocol/core/ids.h"

namespace consilium {

class SiteNotes {
 public:
  SiteNotes(SiteDirectory& directory, const Clock& clock);
  // Writes what waits.
  ~SiteNotes();
  SiteNotes(const SiteNotes&) = delete;
  SiteNotes& operator=(const SiteNotes&) = delete;

  // Never waits.
  void NoteAttached(const SiteId& site, std::string software_version) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Run();
  bool HasWork() const ABSL_SHARED_LOCKS_REQUIRED(mu_) { return stopping_ || !waiting_.empty(); }

  SiteDirectory& directory_;
  const Clock& clock_;
  absl::Mutex mu_;
  // At most limits::kSitesMax. The software's version by site.
  std::map<SiteId, std::string> waiting_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::jthread thread_;
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_SITE_NOTES_H_
