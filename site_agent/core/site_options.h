// What this site itself asks of its engine, apart from any run.
//
// Ownership: values. Threads: as any value.

#ifndef CONSILIUM_SITE_AGENT_CORE_SITE_OPTIONS_H_
#define CONSILIUM_SITE_AGENT_CORE_SITE_OPTIONS_H_

#include "absl/time/time.h"

namespace consilium::site {

struct SiteOptions {
  // A task takes at least this long here, whatever the plan says; lets a site be slow on purpose.
  // Counts in whole nanoseconds, rounded up.
  absl::Duration task_duration_min = absl::ZeroDuration();
};

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_CORE_SITE_OPTIONS_H_
