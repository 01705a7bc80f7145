// How a process knows that a launcher has started it as one of several.
//
// Threads: any.

#ifndef CONSILIUM_SIM_CLUSTER_LAUNCHER_H_
#define CONSILIUM_SIM_CLUSTER_LAUNCHER_H_

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"

namespace consilium {

// Of getenv(3): null where there is no such variable.
using Environment = absl::FunctionRef<const char*(const char* name)>;

// Whether this is one of several processes that mpirun, or srun with a process manager, has
// started together. A job step's own variables alone do not say so: a batch script has them, too.
bool IsLaunchedWithOthers(Environment environment);

// Whether srun has started several of this process without a process manager (--mpi), so that none
// knows of the others. That may be meant, where each is given another seed.
bool IsOneOfSeveralAlone(Environment environment);

// Whether a variable of the environment ("NAME=value") says it: a process that is to run alone, and
// is started by one of several, is started without.
bool IsOfLauncher(absl::string_view variable);

}  // namespace consilium

#endif  // CONSILIUM_SIM_CLUSTER_LAUNCHER_H_
