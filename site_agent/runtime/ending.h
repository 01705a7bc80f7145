// Why an agent ends: the first reason that anybody gives counts.
//
// Threads: any.

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_ENDING_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_ENDING_H_

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace consilium::site {

class Ending {
 public:
  // OK: as it was asked to.
  void End(const absl::Status& why) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    if (!over_) why_ = why;
    over_ = true;
  }

  absl::Status Wait() ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(&over_));
    return why_;
  }

 private:
  absl::Mutex mu_;
  bool over_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status why_ ABSL_GUARDED_BY(mu_);
};

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_ENDING_H_
