// A small pool of threads that runs functions from a bounded queue.
//
// Threads: Run() from any. The destructor finishes what is queued and joins.

#ifndef CONSILIUM_PROTOCOL_CORE_EXECUTOR_H_
#define CONSILIUM_PROTOCOL_CORE_EXECUTOR_H_

#include <cstddef>
#include <functional>
#include <thread>
#include <vector>

#include "protocol/core/bounded_queue.h"

namespace consilium {

class Executor {
 public:
  // `threads` >= 1; at most `queue_max` functions wait, then Run() blocks the caller.
  Executor(int threads, size_t queue_max);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // False after the destructor has begun.
  bool Run(std::function<void()> function);

 private:
  BoundedQueue<std::function<void()>> queue_;
  std::vector<std::jthread> threads_;
};

// Calls body(i) for i in [0, count), spread over `executor` and the calling thread; returns when
// all are done. Which thread runs which i is not fixed, so body(i) writes only what is its own.
void ParallelFor(Executor& executor, size_t count, const std::function<void(size_t)>& body);

}  // namespace consilium

#endif  // CONSILIUM_PROTOCOL_CORE_EXECUTOR_H_
