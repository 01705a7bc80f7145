// A last word to a person who ends a long command: how to go on.
//
// Threads: one. Ownership: the signals of the process, as long as it lives.

#ifndef CONSILIUM_SIM_COMMANDS_INTERRUPTION_H_
#define CONSILIUM_SIM_COMMANDS_INTERRUPTION_H_

#include <signal.h>

#include <string>

namespace consilium {

// While it lives, SIGINT and SIGTERM write `word` to stderr before they end the process as they
// would have; a signal that was ignored stays ignored. One at a time.
class WordWhenInterrupted {
 public:
  explicit WordWhenInterrupted(std::string word);
  ~WordWhenInterrupted();
  WordWhenInterrupted(const WordWhenInterrupted&) = delete;
  WordWhenInterrupted& operator=(const WordWhenInterrupted&) = delete;

 private:
  std::string word_;
  struct sigaction interrupt_ = {};
  struct sigaction terminate_ = {};
};

}  // namespace consilium

#endif  // CONSILIUM_SIM_COMMANDS_INTERRUPTION_H_
