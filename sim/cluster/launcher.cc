#include "sim/cluster/launcher.h"

#include "absl/strings/match.h"

namespace consilium {

bool IsLaunchedWithOthers(Environment environment) {
  // By mpirun.
  if (const char* size = environment("OMPI_COMM_WORLD_SIZE"); size != nullptr) {
    return absl::string_view(size) != "1";
  }
  // By srun --mpi=pmix, or --mpi=pmi2.
  if (environment("PMIX_RANK") == nullptr && environment("PMI_RANK") == nullptr) return false;
  for (const char* name : {"SLURM_STEP_NUM_TASKS", "PMI_SIZE"}) {
    if (const char* size = environment(name); size != nullptr) {
      return absl::string_view(size) != "1";
    }
  }
  return true;
}

bool IsOneOfSeveralAlone(Environment environment) {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    if (environment(name) != nullptr) return false;
  }
  const char* size = environment("SLURM_STEP_NUM_TASKS");
  return size != nullptr && absl::string_view(size) != "1";
}

bool IsOfLauncher(absl::string_view variable) {
  for (const absl::string_view prefix : {"OMPI_", "PMIX_", "PMI_", "SLURM_STEP_"}) {
    if (absl::StartsWith(variable, prefix)) return true;
  }
  return false;
}

}  // namespace consilium
