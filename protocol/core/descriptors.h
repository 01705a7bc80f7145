// The file descriptors of a process, which is what connections that nobody closes use up.
//
// Threads: any.

#ifndef CONSILIUM_PROTOCOL_CORE_DESCRIPTORS_H_
#define CONSILIUM_PROTOCOL_CORE_DESCRIPTORS_H_

#include "absl/status/status.h"

namespace consilium {

// As many as the system allows this process to ask for: the usual 1,024 are few for a server.
void RaiseDescriptorLimit();

// RESOURCE_EXHAUSTED where fewer than `reserve` descriptors are left below the limit.
absl::Status CheckDescriptorsLeft(int reserve);

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_CORE_DESCRIPTORS_H_
