// Runs a function in a forked child: for what ends a process (kill -9, limits on files) and what
// takes two of them. The parent must have no other threads.

#ifndef CONSILIUM_TESTS_FAKES_CHILD_PROCESS_H_
#define CONSILIUM_TESTS_FAKES_CHILD_PROCESS_H_

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

namespace consilium {

class ChildProcess {
 public:
  // `body` calls its argument where the parent shall take over: the child then waits to be killed.
  // Where it returns instead, its result is the exit status.
  explicit ChildProcess(const std::function<int(const std::function<void()>& reach)>& body) {
    int reached[2];
    if (pipe(reached) != 0) abort();
    pid_ = fork();
    if (pid_ < 0) abort();
    if (pid_ == 0) {
      close(reached[0]);
      _exit(body([&reached] {
        if (write(reached[1], "x", 1) != 1) _exit(99);
        for (;;) pause();
      }));
    }
    close(reached[1]);
    char byte;
    reached_ = read(reached[0], &byte, 1) == 1;
    close(reached[0]);
  }
  ~ChildProcess() {
    if (pid_ > 0) Kill();
  }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Whether the child came to the point that it was to reach, and waits there.
  bool reached() const { return reached_; }

  pid_t pid() const { return pid_; }

  void Kill() {
    kill(pid_, SIGKILL);
    Wait();
  }

  // The exit status, or minus the signal that ended it.
  int Wait() {
    int status = 0;
    if (waitpid(pid_, &status, 0) != pid_) abort();
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t pid_ = 0;
  bool reached_ = false;
};

}  // namespace consilium

#endif  // CONSILIUM_TESTS_FAKES_CHILD_PROCESS_H_
