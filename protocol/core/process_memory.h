// A process that holds keys leaves no picture of its memory behind.
//
// Threads: to be called once, before there are others.

#ifndef CONSILIUM_PROTOCOL_CORE_PROCESS_MEMORY_H_
#define CONSILIUM_PROTOCOL_CORE_PROCESS_MEMORY_H_

namespace consilium {

// No core dump is written of this process or of what it starts, and no other process of the same
// user can attach to it or read its memory (prctl(2), PR_SET_DUMPABLE). Whoever is root still can.
void KeepMemoryToItself();

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_CORE_PROCESS_MEMORY_H_
