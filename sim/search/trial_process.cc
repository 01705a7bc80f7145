#include "sim/search/trial_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/cleanup/cleanup.h"
#include "protocol/core/files.h"
#include "sim/cluster/launcher.h"

namespace consilium {
namespace {

constexpr int kCanNotRun = 127;

// In the child, between fork and exec: nothing that takes a lock or memory.
[[noreturn]] void Become(pid_t parent, const int (&files)[3], const char* program,
                         char* const* arguments, char* const* environment) {
  // The parent may have ended before the first line.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) _exit(kCanNotRun);
  for (int i = 0; i < 3; ++i) {
    if (dup2(files[i], i) < 0) _exit(kCanNotRun);
  }
  execve(program, arguments, environment);
  _exit(kCanNotRun);
}

}  // namespace

absl::StatusOr<int> RunProcess(const ProcessOptions& options) {
  const int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const absl::Cleanup close_in = [in] { close(in); };
  const int out = open(options.stdout_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  const absl::Cleanup close_out = [out] { close(out); };
  if (in < 0 || out < 0) return SystemError("can not write", options.stdout_file);
  const int err = open(options.stderr_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  const absl::Cleanup close_err = [err] { close(err); };
  if (err < 0) return SystemError("can not write", options.stderr_file);

  std::vector<std::string> words = {options.program};
  words.insert(words.end(), options.arguments.begin(), options.arguments.end());
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  std::vector<char*> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!IsOfLauncher(*variable)) environment.push_back(*variable);
  }
  environment.push_back(nullptr);
  const int files[3] = {in, out, err};
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) return SystemError("can not start", options.program);
  if (child == 0) {
    Become(parent, files, options.program.c_str(), arguments.data(), environment.data());
  }
  int status = 0;
  while (waitpid(child, &status, 0) != child) {
    if (errno != EINTR) return SystemError("can not wait for", options.program);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

}  // namespace consilium
