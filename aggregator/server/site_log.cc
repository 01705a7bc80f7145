#include "aggregator/server/site_log.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "protocol/core/line_rate.h"

namespace consilium {
namespace {

class Rates {
 public:
  // Alarms of one reason, and all that is no alarm, each have their own.
  LineRate& Of(SiteLine kind, const SiteId& site, absl::string_view text) ABSL_LOCKS_EXCLUDED(mu_) {
    const absl::string_view reason =
        kind == SiteLine::kAlarm ? text.substr(0, text.find(':')) : absl::string_view();
    absl::MutexLock lock(&mu_);
    std::unique_ptr<LineRate>& rate = rates_[{site, std::string(reason)}];
    if (rate == nullptr) {
      rate = std::make_unique<LineRate>(LineRate::Limit{kSiteLinesPerWindow, kSiteLineWindow});
    }
    return *rate;
  }

 private:
  absl::Mutex mu_;
  // At most limits::kSitesMax times the reasons: only sites that were let in are logged here, and
  // an alarm begins with its reason's name.
  std::map<std::pair<SiteId, std::string>, std::unique_ptr<LineRate>> rates_ ABSL_GUARDED_BY(mu_);
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

// A clock that nobody sets.
absl::Time SteadyNow() {
  return absl::UnixEpoch() + absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace

void LogOfSite(SiteLine kind, const SiteId& site, absl::string_view text) {
  int64_t skipped = 0;
  if (!site.empty() && !AllRates().Of(kind, site, text).Allow(SteadyNow(), skipped)) return;
  if (skipped > 0) spdlog::warn("site {}: {} lines more, left out", site.value(), skipped);
  spdlog::log(LevelOf(kind), "{}{}{}", kind == SiteLine::kAlarm ? "ALARM " : "",
              site.empty() ? "" : absl::StrCat("site ", site.value(), ": "), std::string(text));
}

}  // namespace consilium
