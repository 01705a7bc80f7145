// Tells ThreadSanitizer what Debian's Abseil does: the library is built without it, so it sees
// neither that an absl::Mutex was locked nor that a wait has ended, and reports a race wherever one
// guards something. The linker's --wrap leads the calls of our own code through here
// (CMakeLists.txt beside this file has the list).
//
// Between __tsan_mutex_pre_* and _post_* nothing is recorded: a mutex that is being unlocked
// evaluates the conditions of other threads, which lie on their stacks.

#include <sanitizer/tsan_interface.h>

#include <cstddef>
#include <cstdint>

// ThreadSanitizer's runtime has these; no header of it declares them.
extern "C" void AnnotateIgnoreSyncBegin(const char* file, int line);
extern "C" void AnnotateIgnoreSyncEnd(const char* file, int line);

#define REAL(name) __real__ZN4absl7debian3##name
#define WRAP(name) __wrap__ZN4absl7debian3##name
#define REAL_CONST(name) __real__ZNK4absl7debian3##name
#define WRAP_CONST(name) __wrap__ZNK4absl7debian3##name

namespace {

constexpr unsigned kRead = __tsan_mutex_read_lock;

struct Locking {
  Locking(void* mutex, unsigned flags) : mutex(mutex), flags(flags) {
    __tsan_mutex_pre_lock(mutex, flags);
  }
  ~Locking() { __tsan_mutex_post_lock(mutex, flags, 0); }
  void* mutex;
  unsigned flags;
};

struct Unlocking {
  Unlocking(void* mutex, unsigned flags) : mutex(mutex), flags(flags) {
    __tsan_mutex_pre_unlock(mutex, flags);
  }
  ~Unlocking() { __tsan_mutex_post_unlock(mutex, flags); }
  void* mutex;
  unsigned flags;
};

// A wait lets the mutex go and takes it again.
struct Waiting {
  explicit Waiting(void* mutex) : mutex(mutex) {
    __tsan_mutex_pre_unlock(mutex, 0);
    __tsan_mutex_post_unlock(mutex, 0);
    __tsan_mutex_pre_lock(mutex, 0);
  }
  ~Waiting() { __tsan_mutex_post_lock(mutex, 0, 0); }
  void* mutex;
};

bool Tried(void* mutex, unsigned flags, bool (*real)(void*)) {
  flags |= __tsan_mutex_try_lock;
  __tsan_mutex_pre_lock(mutex, flags);
  const bool locked = real(mutex);
  __tsan_mutex_post_lock(mutex, locked ? flags : flags | __tsan_mutex_try_lock_failed, 0);
  return locked;
}

}  // namespace

// absl::Duration and absl::Time are passed as what they are made of.
struct Rep {
  int64_t high;
  uint32_t low;
};

extern "C" {

void REAL(5MutexD1Ev)(void* mutex);
void WRAP(5MutexD1Ev)(void* mutex) {
  __tsan_mutex_destroy(mutex, 0);
  REAL(5MutexD1Ev)(mutex);
}

void REAL(5Mutex4LockEv)(void* mutex);
void WRAP(5Mutex4LockEv)(void* mutex) {
  const Locking locking(mutex, 0);
  REAL(5Mutex4LockEv)(mutex);
}

void REAL(5Mutex6UnlockEv)(void* mutex);
void WRAP(5Mutex6UnlockEv)(void* mutex) {
  const Unlocking unlocking(mutex, 0);
  REAL(5Mutex6UnlockEv)(mutex);
}

bool REAL(5Mutex7TryLockEv)(void* mutex);
bool WRAP(5Mutex7TryLockEv)(void* mutex) { return Tried(mutex, 0, REAL(5Mutex7TryLockEv)); }

void REAL(5Mutex10ReaderLockEv)(void* mutex);
void WRAP(5Mutex10ReaderLockEv)(void* mutex) {
  const Locking locking(mutex, kRead);
  REAL(5Mutex10ReaderLockEv)(mutex);
}

void REAL(5Mutex12ReaderUnlockEv)(void* mutex);
void WRAP(5Mutex12ReaderUnlockEv)(void* mutex) {
  const Unlocking unlocking(mutex, kRead);
  REAL(5Mutex12ReaderUnlockEv)(mutex);
}

void REAL(5Mutex8LockWhenERKNS0_9ConditionE)(void* mutex, const void* condition);
void WRAP(5Mutex8LockWhenERKNS0_9ConditionE)(void* mutex, const void* condition) {
  const Locking locking(mutex, 0);
  REAL(5Mutex8LockWhenERKNS0_9ConditionE)(mutex, condition);
}

bool REAL(5Mutex19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE)(void*, const void*, Rep);
bool WRAP(5Mutex19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE)(void* mutex,
                                                                       const void* condition,
                                                                       Rep timeout) {
  const Locking locking(mutex, 0);
  return REAL(5Mutex19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE)(mutex, condition,
                                                                           timeout);
}

void REAL(5Mutex5AwaitERKNS0_9ConditionE)(void* mutex, const void* condition);
void WRAP(5Mutex5AwaitERKNS0_9ConditionE)(void* mutex, const void* condition) {
  const Waiting waiting(mutex);
  REAL(5Mutex5AwaitERKNS0_9ConditionE)(mutex, condition);
}

bool REAL(5Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE)(void*, const void*, Rep);
bool WRAP(5Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE)(void* mutex,
                                                                    const void* condition,
                                                                    Rep timeout) {
  const Waiting waiting(mutex);
  return REAL(5Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE)(mutex, condition, timeout);
}

bool REAL(5Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE)(void*, const void*, Rep);
bool WRAP(5Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE)(void* mutex, const void* condition,
                                                                 Rep deadline) {
  const Waiting waiting(mutex);
  return REAL(5Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE)(mutex, condition, deadline);
}

void REAL(7CondVar4WaitEPNS0_5MutexE)(void* variable, void* mutex);
void WRAP(7CondVar4WaitEPNS0_5MutexE)(void* variable, void* mutex) {
  const Waiting waiting(mutex);
  REAL(7CondVar4WaitEPNS0_5MutexE)(variable, mutex);
}

bool REAL(7CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE)(void*, void*, Rep);
bool WRAP(7CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE)(void* variable, void* mutex,
                                                                Rep timeout) {
  const Waiting waiting(mutex);
  return REAL(7CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE)(variable, mutex, timeout);
}

bool REAL(7CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE)(void*, void*, Rep);
bool WRAP(7CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE)(void* variable, void* mutex,
                                                             Rep deadline) {
  const Waiting waiting(mutex);
  return REAL(7CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE)(variable, mutex, deadline);
}

bool REAL(15BlockingCounter14DecrementCountEv)(void* counter);
bool WRAP(15BlockingCounter14DecrementCountEv)(void* counter) {
  __tsan_release(counter);
  return REAL(15BlockingCounter14DecrementCountEv)(counter);
}

void REAL(15BlockingCounter4WaitEv)(void* counter);
void WRAP(15BlockingCounter4WaitEv)(void* counter) {
  REAL(15BlockingCounter4WaitEv)(counter);
  __tsan_acquire(counter);
}

bool REAL(7Barrier5BlockEv)(void* barrier);
bool WRAP(7Barrier5BlockEv)(void* barrier) {
  __tsan_release(barrier);
  const bool last = REAL(7Barrier5BlockEv)(barrier);
  __tsan_acquire(barrier);
  return last;
}

// HasBeenNotified() is inline and reads the flag that lies behind the mutex.
constexpr size_t kNotifiedFlag = sizeof(intptr_t);

void REAL(12Notification6NotifyEv)(void* notification);
void WRAP(12Notification6NotifyEv)(void* notification) {
  __tsan_release(static_cast<char*>(notification) + kNotifiedFlag);
  // The library evaluates the waiter's condition, that inline function, in this thread; the waiter
  // may be gone, and its stack used again, before this thread has said that it is done.
  AnnotateIgnoreSyncBegin(__FILE__, __LINE__);
  REAL(12Notification6NotifyEv)(notification);
  AnnotateIgnoreSyncEnd(__FILE__, __LINE__);
}

void REAL_CONST(12Notification19WaitForNotificationEv)(void* notification);
void WRAP_CONST(12Notification19WaitForNotificationEv)(void* notification) {
  REAL_CONST(12Notification19WaitForNotificationEv)(notification);
  __tsan_acquire(static_cast<char*>(notification) + kNotifiedFlag);
}

bool REAL_CONST(12Notification30WaitForNotificationWithTimeoutENS0_8DurationE)(void*, Rep);
bool WRAP_CONST(12Notification30WaitForNotificationWithTimeoutENS0_8DurationE)(void* notification,
                                                                               Rep timeout) {
  const bool notified = REAL_CONST(12Notification30WaitForNotificationWithTimeoutENS0_8DurationE)(
      notification, timeout);
  if (notified) __tsan_acquire(static_cast<char*>(notification) + kNotifiedFlag);
  return notified;
}

}  // extern "C"
