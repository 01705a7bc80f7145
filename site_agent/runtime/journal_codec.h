// Inputs of a site's engine as entries of its journal (site_journal.proto) and back, and the
// aggregator's directives as inputs. Decoding trusts nothing: ids and digests are checked.
//
// Threads: any.

#ifndef CONSILIUM_SITE_AGENT_RUNTIME_JOURNAL_CODEC_H_
#define CONSILIUM_SITE_AGENT_RUNTIME_JOURNAL_CODEC_H_

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "consilium/v1/coordination.pb.h"
#include "consilium/v1/site_journal.pb.h"
#include "site_agent/core/events.h"

namespace consilium::site {

// INVALID_ARGUMENT where a directive names no run, a digest has not 32 bytes, or it is Welcome or
// empty: the peer is at fault.
absl::StatusOr<Event> EventOf(const v1::Directive& directive);

struct TimedEvent {
  absl::Time time;
  Event event;
};

v1::SiteJournalEntry EntryOf(const TimedEvent& input);

// INVALID_ARGUMENT as above, and for a release, which is no input.
absl::StatusOr<TimedEvent> EventOf(const v1::SiteJournalEntry& entry);

}  // namespace consilium::site

#endif  // CONSILIUM_SITE_AGENT_RUNTIME_JOURNAL_CODEC_H_
