// Runs a vector program (protocol/wire/vector_program.h) over a store, shard by shard: all steps on
// one shard before the next, so memory is a few MiB for each thread whatever the model's size (a
// step over n vectors: n MiB), and each shard of the result is hashed while it is in the cache.
//
// The result, its Merkle root and every scalar are the same bit by bit for any number of threads:
// shards do not touch each other, and a scalar's parts are added in the order of the shards.
//
// Threads: one program at a time on one store.

#ifndef CONSILIUM_AGGREGATOR_MERGE_RUN_PROGRAM_H_
#define CONSILIUM_AGGREGATOR_MERGE_RUN_PROGRAM_H_

#include "absl/status/statusor.h"
#include "aggregator/merge/vector_store.h"
#include "protocol/core/executor.h"
#include "protocol/wire/vector_program.h"

namespace consilium {

// What starts as zeros: the result, scratch vectors, and a state slot never written before. A
// result of kind kScratch is dropped and its root is all zeros, for programs that only ask for
// scalars. `executor`: shards are spread over it and the calling thread; null: the
// calling thread alone. The calling thread is not one of the executor's.
//
// NOT_FOUND: a model or update that the store does not have. INVALID_ARGUMENT: a step that writes
// an update, a model that is not the result, or a slot that is not in `state_slots`; state slots
// or a control variate without a model as result, or a control variate of another version; one
// vector in two roles of an optimizer step, or of a trimmed mean; a step over no vectors, or more
// than kStepVectorsMax; a trimmed mean that cuts all. Else as the store says. After an error
// nothing of the program remains visible.
absl::StatusOr<ProgramResult> RunProgram(const VectorProgram& program, VectorStore& store,
                                         Executor* executor);

}  // namespace consilium

#endif  // CONSILIUM_AGGREGATOR_MERGE_RUN_PROGRAM_H_
