#include "protocol/core/executor.h"

#include <atomic>
#include <memory>
#include <utility>

#include "absl/synchronization/blocking_counter.h"

namespace consilium {

Executor::Executor(int threads, size_t queue_max) : queue_(queue_max) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this] {
      while (auto function = queue_.Pop()) (*function)();
    });
  }
}

Executor::~Executor() { queue_.Close(); }

bool Executor::Run(std::function<void()> function) { return queue_.Push(std::move(function)); }

void ParallelFor(Executor& executor, size_t count, const std::function<void(size_t)>& body) {
  if (count == 0) return;
  // Shared, because a helper that wakes after the last index was taken still reads `next`.
  struct State {
    explicit State(int n) : left(n) {}
    std::atomic<size_t> next{0};
    absl::BlockingCounter left;
  };
  auto state = std::make_shared<State>(static_cast<int>(count));
  auto work = [state, count, &body] {
    for (size_t i = state->next++; i < count; i = state->next++) {
      body(i);
      state->left.DecrementCount();
    }
  };
  for (size_t helper = 1; helper < count && helper <= 16; ++helper) executor.Run(work);
  work();
  state->left.Wait();
}

}  // namespace consilium
