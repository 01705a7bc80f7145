#include "aggregator/server/site_log.h"

#include <spdlog/spdlog.h>

#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "protocol/core/line_rate.h"

namespace consilium {
namespace {

class Rates {
 public:
  LineRate& Of(const SiteId& site) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    std::unique_ptr<LineRate>& rate = rates_[site];
    if (rate == nullptr) {
      rate = std::make_unique<LineRate>(LineRate::Limit{kSiteLinesPerWindow, kSiteLineWindow});
    }
    return *rate;
  }

 private:
  absl::Mutex mu_;
  // At most limits::kSitesMax: only sites that were let in are logged here.
  std::map<SiteId, std::unique_ptr<LineRate>> rates_ ABSL_GUARDED_BY(mu_);
};

// Never destroyed: threads may log while the process ends.
Rates& AllRates() {
  static Rates& rates = *new Rates;
  return rates;
}

spdlog::level::level_enum LevelOf(SiteLine kind) {
  switch (kind) {
    case SiteLine::kInfo:
      return spdlog::level::info;
    case SiteLine::kWarning:
      return spdlog::level::warn;
    case SiteLine::kAlarm:
      break;
  }
  return spdlog::level::err;
}

}  // namespace

void LogOfSite(SiteLine kind, const SiteId& site, absl::string_view text) {
  int64_t skipped = 0;
  if (!site.empty() && !AllRates().Of(site).Allow(absl::Now(), skipped)) return;
  if (skipped > 0) spdlog::warn("site {}: {} lines more, left out", site.value(), skipped);
  spdlog::log(LevelOf(kind), "{}{}{}", kind == SiteLine::kAlarm ? "ALARM " : "",
              site.empty() ? "" : absl::StrCat("site ", site.value(), ": "), std::string(text));
}

}  // namespace consilium
