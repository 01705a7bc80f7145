// How many lines of a log one cause may bring about: above `lines` in a window they are only
// counted, so that a peer can not fill a disk.
//
// Ownership: values. Threads: any.

#ifndef CONSILIUM_PROTOCOL_CORE_LINE_RATE_H_
#define CONSILIUM_PROTOCOL_CORE_LINE_RATE_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace consilium {

class LineRate {
 public:
  struct Limit {
    int lines = 0;
    absl::Duration window;
  };
  explicit LineRate(const Limit& limit) : limit_(limit) {}

  // Whether a line may be written now; `skipped` is what the window before left out.
  bool Allow(absl::Time now, int64_t& skipped) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    skipped = 0;
    if (now - window_start_ >= limit_.window) {
      window_start_ = now;
      skipped = skipped_;
      skipped_ = 0;
      lines_ = 0;
    }
    if (lines_ >= limit_.lines) {
      ++skipped_;
      return false;
    }
    ++lines_;
    return true;
  }

 private:
  const Limit limit_;
  absl::Mutex mu_;
  absl::Time window_start_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  int lines_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t skipped_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_CORE_LINE_RATE_H_
