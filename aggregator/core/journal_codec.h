// An input of the engine and its time, as the journal keeps it. What is read back is exactly what
// was written, so replay is the fold of the decoded entries.
//
// Threads: any.

#ifndef CONSILIUM_AGGREGATOR_CORE_JOURNAL_CODEC_H_
#define CONSILIUM_AGGREGATOR_CORE_JOURNAL_CODEC_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aggregator/core/events.h"
#include "consilium/v1/journal.pb.h"
#include "protocol/core/ids.h"

namespace consilium::federation {

struct JournalledEvent {
  Sequence sequence;
  absl::Time now;  // To the nanosecond.
  Event event;
};

v1::JournalEntry EncodeJournalEntry(const JournalledEvent& input);

// The entry's bytes, read back once, as the next start will: INVALID_ARGUMENT where it could not (a
// text that is not UTF-8, an id that is none). Nothing else may be appended to a journal.
absl::StatusOr<std::string> SerializeJournalEntry(const JournalledEvent& input);

// Takes the entry's large parts over. INVALID_ARGUMENT names the field that can not be: no input,
// a digest of another size than 32 bytes, an id that is none, an enum without such a value.
absl::StatusOr<JournalledEvent> DecodeJournalEntry(v1::JournalEntry entry);

}  // namespace consilium::federation

#endif  // CONSILIUM_AGGREGATOR_CORE_JOURNAL_CODEC_H_
