// Named places at which a test can kill the process, as a power cut would: each durability point
// has one. Off unless the environment variable CONSILIUM_FAILPOINT names it.
//
//   CONSILIUM_FAILPOINT=aggregator.blob_synced      kill -9 at the first passage
//   CONSILIUM_FAILPOINT=aggregator.blob_synced:3    at the third
//
// Threads: any. Costs one relaxed load when off.

#ifndef CONSILIUM_PROTOCOL_CORE_FAILPOINT_H_
#define CONSILIUM_PROTOCOL_CORE_FAILPOINT_H_

#include <span>

#include "absl/strings/string_view.h"

namespace consilium {

// Kills this process with SIGKILL if the environment asks for it here. `name` is one of
// FailpointNames(); any other is a programmer's error and aborts.
void Failpoint(absl::string_view name);

// Every failpoint of the programs, for the tests that try each.
std::span<const absl::string_view> FailpointNames();

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_CORE_FAILPOINT_H_
