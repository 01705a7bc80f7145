// A site as the federation knows it, over all runs. docs/adr/0001-lifecycle.md says how its lease
// fences a copy of its store.
//
// Ownership: values. Threads: the engine's.

#ifndef CONSILIUM_AGGREGATOR_CORE_SITE_STATE_H_
#define CONSILIUM_AGGREGATOR_CORE_SITE_STATE_H_

#include <cstdint>

#include "protocol/core/ids.h"

namespace consilium::federation {

struct SiteState {
  enum class Link : uint8_t { kNeverSeen, kLost, kAttached, kRemoved } link = Link::kNeverSeen;
  Incarnation incarnation;  // Of the newest attach.
  Digest lease_current = {};
  Digest lease_pending = {};  // Zero: none.
};

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_SITE_STATE_H_
