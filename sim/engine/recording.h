// What remains of a federation that ran: the inputs of its engine, and its updates.
//
// Ownership: values. Threads: as any value.

#ifndef CONSILIUM_SIM_ENGINE_RECORDING_H_
#define CONSILIUM_SIM_ENGINE_RECORDING_H_

#include <map>
#include <vector>

#include "consilium/v1/journal.pb.h"
#include "protocol/core/ids.h"

namespace consilium {

// What an export holds (protocol/wire/journal_export.h).
struct Recording {
  RunId run;
  std::vector<v1::JournalEntry> entries;
  std::map<Digest, std::vector<float>> updates;  // By id; empty where they were left out.
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_RECORDING_H_
