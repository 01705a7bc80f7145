// The tables of a site's store. A step that was released is never edited (database.h).
//
// Threads: any.

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_SITE_SCHEMA_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_SITE_SCHEMA_H_

#include <cstdint>
#include <vector>

#include "privacy/at_rest/database.h"

namespace consilium::site {

// "CSIT": an agent opens no aggregator's store, and the other way round.
inline constexpr int32_t kSiteApplicationId = 0x43534954;

std::vector<Migration> SiteMigrations();

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_SITE_SCHEMA_H_
