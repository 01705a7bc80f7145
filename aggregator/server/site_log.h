// The aggregator's log about its sites. Each site has a rate of its own for the lines that it can
// cause, so that one can neither fill a disk nor hide what is said of another; alarms of each
// reason have one of their own, so that no noise hides them.
//
// Threads: any.

#ifndef CONSILIUM_AGGREGATOR_SERVER_SITE_LOG_H_
#define CONSILIUM_AGGREGATOR_SERVER_SITE_LOG_H_

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "protocol/core/ids.h"

namespace consilium {

inline constexpr int kSiteLinesPerWindow = 30;
inline constexpr absl::Duration kSiteLineWindow = absl::Seconds(10);

enum class SiteLine { kInfo, kWarning, kAlarm };

// 'site <site>: <text>', an alarm with ALARM before it and its reason's name and a colon first in
// `text`. `site` is one whose certificate was
// checked, or empty for what no site is the cause of, which has no limit.
void LogOfSite(SiteLine kind, const SiteId& site, absl::string_view text);

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_SERVER_SITE_LOG_H_
