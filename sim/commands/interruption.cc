#include "sim/commands/interruption.h"

#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <utility>

namespace consilium {
namespace {

// What the handler may read: set before it is installed.
std::atomic<const char*> word_bytes = nullptr;
std::atomic<size_t> word_length = 0;

// Only what is safe in a handler. It was installed for one signal (SA_RESETHAND), so that raised
// again it does what it would have done.
extern "C" void SayAndEnd(int signal) {
  const char* const bytes = word_bytes;
  if (bytes != nullptr) {
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, bytes, word_length);
  }
  raise(signal);
}

void Install(int signal, struct sigaction& before) {
  struct sigaction action = {};
  action.sa_handler = SayAndEnd;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, &before);
  // Another's handler, or nohup's wish.
  if (before.sa_handler != SIG_DFL) sigaction(signal, &before, nullptr);
}

}  // namespace

WordWhenInterrupted::WordWhenInterrupted(std::string word) : word_(std::move(word)) {
  word_length = word_.size();
  word_bytes = word_.data();
  Install(SIGINT, interrupt_);
  Install(SIGTERM, terminate_);
}

WordWhenInterrupted::~WordWhenInterrupted() {
  sigaction(SIGINT, &interrupt_, nullptr);
  sigaction(SIGTERM, &terminate_, nullptr);
  word_bytes = nullptr;
}

}  // namespace consilium
