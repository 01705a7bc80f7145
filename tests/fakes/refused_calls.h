// Lets the kernel answer as it does where a file system lacks something: no folder of a test lies
// on one that lacks it for certain.
//
// Threads: the calling one, and those that it starts from then on. It can not be taken back, so
// that it is for a ChildProcess.

#ifndef CONSILIUM_TESTS_FAKES_REFUSED_CALLS_H_
#define CONSILIUM_TESTS_FAKES_REFUSED_CALLS_H_

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

namespace consilium {

// The system call `number`, where one of `bits` is set in its argument of that number from 0, fails
// with `error` from now on. False where the kernel does not let it.
inline bool RefuseCalls(uint32_t number, uint32_t argument, uint32_t bits, uint32_t error) {
  const auto place = static_cast<uint32_t>(offsetof(seccomp_data, args) + argument * 8);
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, place),  // Its lower half: the machine is little-endian.
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter = {sizeof(program) / sizeof(program[0]), program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

// Files without a name from the start: EOPNOTSUPP on NFS and FAT, EISDIR of an old kernel.
inline bool RefuseNamelessFiles(uint32_t error) {
  return RefuseCalls(SYS_openat, 2, O_TMPFILE & ~O_DIRECTORY, error);
}

// renameat2 with flags: EINVAL on NFS.
inline bool RefuseFlagsOfRename() { return RefuseCalls(SYS_renameat2, 4, ~0U, EINVAL); }

}  // namespace consilium

#endif  // CONSILIUM_TESTS_FAKES_REFUSED_CALLS_H_
