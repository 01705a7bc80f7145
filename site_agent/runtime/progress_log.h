// What happened, one line per event, for a person who looks at the agent's log.
//
// Threads: any.

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_PROGRESS_LOG_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_PROGRESS_LOG_H_

#include <string>

#include "absl/strings/string_view.h"
#include "site_agent/core/events.h"
#include "site_agent/core/run_state.h"

namespace consilium::site {

// Empty for events that nobody waits for.
std::string DescribeEvent(const Event& event);

absl::string_view NameOf(TaskPhase phase);

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_PROGRESS_LOG_H_
