"""System call numbers by architecture: what an isolated enclave may call, and what is tried to see it refused.

The list was found with strace over starts, rounds, restarts and full disks; whatever is not in it is
refused with EPERM.
"""

from collections.abc import Mapping


def _table(text: str) -> Mapping[str, int]:
    words = text.split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))


ALLOWED_EVERYWHERE = (
    # The one socket, and files that Landlock lets through.
    *("read", "write", "readv", "writev", "pread64", "pwrite64", "close", "lseek", "fcntl", "dup"),
    *("openat", "newfstatat", "fstat", "statx", "faccessat", "faccessat2", "readlinkat", "getcwd"),
    *("getdents64", "ftruncate", "fsync", "fdatasync", "renameat", "renameat2", "unlinkat"),
    *("accept4", "recvfrom", "sendto", "getsockname", "getsockopt", "setsockopt", "shutdown"),
    *("ppoll", "pselect6"),
    # Memory.
    *("mmap", "munmap", "mremap", "mprotect", "madvise", "brk"),
    # Threads of this process and their synchronisation; `clone` is held to threads by its flags.
    *("futex", "set_robust_list", "rseq", "sched_yield", "sched_getaffinity", "membarrier"),
    *("exit", "exit_group", "restart_syscall", "gettid", "getpid", "getppid"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack"),
    *("getuid", "geteuid", "getgid", "getegid", "uname"),
    # Clock and entropy.
    *("clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "getrandom"),
)
ALLOWED_ON_X86 = ("open", "stat", "lstat", "access", "readlink", "rename", "unlink", "poll", "select", "time")

X86_64 = _table(
    """
    read 0  write 1  open 2  close 3  stat 4  fstat 5  lstat 6  poll 7  lseek 8  mmap 9  mprotect 10
    munmap 11  brk 12  rt_sigaction 13  rt_sigprocmask 14  rt_sigreturn 15  ioctl 16  pread64 17
    pwrite64 18  readv 19  writev 20  access 21  select 23  sched_yield 24  mremap 25  madvise 28
    dup 32  nanosleep 35  getpid 39  socket 41  connect 42  accept 43  sendto 44  recvfrom 45
    shutdown 48  getsockname 51  setsockopt 54  getsockopt 55  clone 56  fork 57  vfork 58  execve 59
    exit 60  kill 62  uname 63  fcntl 72  fsync 74  fdatasync 75  ftruncate 77  getcwd 79  rename 82
    unlink 87  readlink 89  gettimeofday 96  ptrace 101  getuid 102  getgid 104  geteuid 107
    getegid 108  getppid 110  capget 125  sigaltstack 131  mount 165  gettid 186  time 201  futex 202
    sched_getaffinity 204  getdents64 217  restart_syscall 219  clock_gettime 228  clock_getres 229
    clock_nanosleep 230  exit_group 231  openat 257  newfstatat 262  unlinkat 263  renameat 264
    readlinkat 267  faccessat 269  pselect6 270  ppoll 271  set_robust_list 273  accept4 288
    process_vm_readv 310  process_vm_writev 311  renameat2 316  seccomp 317  getrandom 318
    execveat 322  membarrier 324  statx 332  rseq 334  clone3 435  faccessat2 439
    landlock_create_ruleset 444  landlock_add_rule 445  landlock_restrict_self 446
    """
)

AARCH64 = _table(
    """
    getcwd 17  dup 23  fcntl 25  ioctl 29  unlinkat 35  renameat 38  mount 40  ftruncate 46
    faccessat 48  openat 56  close 57  getdents64 61  lseek 62  read 63  write 64  readv 65  writev 66
    pread64 67  pwrite64 68  pselect6 72  ppoll 73  readlinkat 78  newfstatat 79  fstat 80  fsync 82
    fdatasync 83  capget 90  exit 93  exit_group 94  futex 98  set_robust_list 99  nanosleep 101
    clock_gettime 113  clock_getres 114  clock_nanosleep 115  ptrace 117  sched_getaffinity 123
    sched_yield 124  restart_syscall 128  kill 129  sigaltstack 132  rt_sigaction 134
    rt_sigprocmask 135  rt_sigreturn 139  uname 160  gettimeofday 169  getpid 172  getppid 173
    getuid 174  geteuid 175  getgid 176  getegid 177  gettid 178  socket 198  accept 202  connect 203
    getsockname 204  sendto 206  recvfrom 207  setsockopt 208  getsockopt 209  shutdown 210  brk 214
    munmap 215  mremap 216  clone 220  execve 221  mmap 222  mprotect 226  madvise 233  accept4 242
    process_vm_readv 270  process_vm_writev 271  renameat2 276  seccomp 277  getrandom 278
    execveat 281  membarrier 283  statx 291  rseq 293  clone3 435  faccessat2 439
    landlock_create_ruleset 444  landlock_add_rule 445  landlock_restrict_self 446
    """
)

NUMBERS = {"x86_64": X86_64, "aarch64": AARCH64}
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def allowed(machine: str) -> tuple[int, ...]:
    """Numbers of the system calls that an isolated enclave may make, whatever their arguments."""
    names = ALLOWED_EVERYWHERE + (ALLOWED_ON_X86 if machine == "x86_64" else ())
    return tuple(sorted(NUMBERS[machine][name] for name in names))
