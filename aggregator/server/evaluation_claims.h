// Which evaluations of which versions were handed to the engine since the process began: the
// journal keeps every input for ever, so a report that a site repeats must not reach it again.
//
// Ownership: values; grows by a byte for each version of a run and site. Threads: any.

#ifndef CONSILIUM_AGGREGATOR_SERVER_EVALUATION_CLAIMS_H_
#define CONSILIUM_AGGREGATOR_SERVER_EVALUATION_CLAIMS_H_

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "consilium/v1/model_spec.pb.h"
#include "protocol/core/ids.h"

namespace consilium {

class EvaluationClaims {
 public:
  struct Report {
    RunId run;
    SiteId site;
    Version version;  // That exists.
    v1::Split split = v1::VALIDATION;
  };
  // True for the first of its kind.
  bool Claim(const Report& report) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    std::vector<uint8_t>& claimed = claimed_[{report.run, report.site}];
    if (claimed.size() <= report.version.value()) claimed.resize(report.version.value() + 1);
    uint8_t& bits = claimed[report.version.value()];
    if ((bits & BitOf(report.split)) != 0) return false;
    bits |= BitOf(report.split);
    return true;
  }
  // It did not come so far after all: the site may say it again.
  void Release(const Report& report) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    claimed_[{report.run, report.site}][report.version.value()] &=
        static_cast<uint8_t>(~BitOf(report.split));
  }

 private:
  static uint8_t BitOf(v1::Split split) { return split == v1::TEST ? 2 : 1; }

  absl::Mutex mu_;
  std::map<std::pair<RunId, SiteId>, std::vector<uint8_t>> claimed_ ABSL_GUARDED_BY(mu_);
};

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_EVALUATION_CLAIMS_H_
