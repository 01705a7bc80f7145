// A program run to its end as a child process, its output in files. The child is killed when this
// process ends, however it ends. It has this process's environment but for what a launcher of ranks
// has put there: it is nobody's rank.
//
// Threads: any; the calling thread waits, and must not end before the child.

#ifndef CONSILIUM_SIM_SEARCH_TRIAL_PROCESS_H_
#define CONSILIUM_SIM_SEARCH_TRIAL_PROCESS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace consilium {

struct ProcessOptions {
  std::string program;
  std::vector<std::string> arguments;
  std::string stdout_file;  // Overwritten.
  std::string stderr_file;
};

// The exit status, or minus the signal that ended it; 127 where the program can not be run.
// UNAVAILABLE: the files can not be written, or the system has no room for a process.
absl::StatusOr<int> RunProcess(const ProcessOptions& options);

}  // namespace consilium

#endif  // CONSILIUM_SIM_SEARCH_TRIAL_PROCESS_H_
