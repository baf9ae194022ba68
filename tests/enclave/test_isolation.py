"""Isolation: what a program under the enclave's own boundary cannot do, and that the evidence says the truth."""

import ctypes
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.enclave import captive
from tests.enclave.hosting import write_home

from crimson_enclave.host.launcher import Launch, launch
from crimson_enclave.isolation import REQUIRED, seccomp
from crimson_enclave.isolation.syscalls import ALLOWED_EVERYWHERE, ALLOWED_ON_X86, NUMBERS, allowed

PROGRAM = Path(captive.__file__)
NOBODY = 65534


@pytest.fixture(scope="module")
def listening():
    """Somebody on this machine whom a captive would like to reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def capture(tmp_path, parties, port: int, *, sandbox: bool) -> dict:
    home = write_home(tmp_path / "captive", parties)
    wanted = Launch(home, None, sandbox, (str(PROGRAM), str(port)), (PROGRAM.parent,))
    enclave = launch(wanted)
    enclave.stop()
    return enclave.told


def test_a_captive_reaches_nothing_and_the_evidence_says_so(tmp_path, parties, listening):
    told = capture(tmp_path, parties, listening, sandbox=True)
    escaped = {name: end for name, end in told["attempts"].items() if end in ("done",) or "other" in end}
    assert escaped == {}
    assert set(told["allowed"].values()) == {"done"}
    assert told["isolated"] is True
    assert [name for name in REQUIRED if not told["measures"][name]] == []
    assert not {"PATH", "HOME", "USER", "PYTHONPATH"} & set(told["environment"])


def test_without_the_sandbox_the_evidence_does_not_say_isolated(tmp_path, parties, listening):
    """Landlock and seccomp still hold; what only the sandbox gives is reported as missing."""
    told = capture(tmp_path, parties, listening, sandbox=False)
    assert told["isolated"] is False
    missing = {name for name, held in told["measures"].items() if not held}
    assert {"pid-namespace", "mount-namespace", "uts-namespace", "user-namespace"} <= missing
    held = {name for name, enforced in told["measures"].items() if enforced}
    assert {"seccomp", "no-network", "no-program", "no-child-process", "no-tracing"} <= held
    for name in ("tcp", "unix", "passwd", "keys", "fork", "exec", "spawn", "ptrace", "kill", "write code"):
        assert told["attempts"][name] not in ("done",), name


VICTIM = """
import os, sys, ctypes
from pathlib import Path
from crimson_enclave.isolation import Boundary, isolate
secret = bytearray(b"planted secret")
address = ctypes.addressof((ctypes.c_char * len(secret)).from_buffer(secret))
if os.getuid() == 0:
    os.setgroups([]), os.setgid({nobody}), os.setuid({nobody})
if {apart}:
    measures = isolate(Boundary((Path("/usr/lib"),), (), os.getppid()))
else:
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
print(address, flush=True)
sys.stdin.read()
"""

READER = """
import ctypes, json, os, sys
if os.getuid() == 0:
    os.setgroups([]), os.setgid({nobody}), os.setuid({nobody})
pid, address = {pid}, {address}
found = {{}}
try:
    file = os.open(f"/proc/{{pid}}/mem", os.O_RDONLY)
    found["mem"] = os.pread(file, 14, address).decode()
except OSError as error:
    found["mem"] = type(error).__name__
buffer = ctypes.create_string_buffer(14)
class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
mine, its = Vector(ctypes.addressof(buffer), 14), Vector(address, 14)
libc = ctypes.CDLL(None, use_errno=True)
read = libc.process_vm_readv(pid, ctypes.byref(mine), 1, ctypes.byref(its), 1, 0)
found["vm"] = buffer.raw.decode() if read == 14 else os.strerror(ctypes.get_errno())
found["trace"] = libc.ptrace(16, pid, 0, 0)
print(json.dumps(found))
"""


def read_memory(apart: bool) -> dict:
    """What a process of the same unprivileged user reads of a victim's memory."""
    code = VICTIM.format(nobody=NOBODY, apart=apart)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as victim:
        address = int(victim.stdout.readline())
        reader = READER.format(nobody=NOBODY, pid=victim.pid, address=address)
        done = subprocess.run([sys.executable, "-c", reader], capture_output=True, text=True, check=True)
        victim.kill()
    return json.loads(done.stdout)


def test_another_process_of_the_same_user_cannot_read_its_memory():
    found = read_memory(apart=True)
    assert (found["mem"], found["trace"]) == ("PermissionError", -1)
    assert found["vm"] == "Operation not permitted"


def test_without_isolation_the_same_reader_would_succeed():
    """The test above means something: nothing else on this machine protects the memory."""
    ptrace_scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    found = read_memory(apart=False)
    if not ptrace_scope.exists() or ptrace_scope.read_text().strip() == "0":
        assert (found["mem"], found["vm"]) == ("planted secret", "planted secret")


def test_no_other_user_reads_the_memory_of_a_sandboxed_enclave(tmp_path, parties):
    """The user who started it owns its user namespace, and could; so it has a user of its own (LIMITATIONS)."""
    enclave = launch(Launch(write_home(tmp_path / "enclave", parties)))
    try:
        [inner] = Path(f"/proc/{enclave.process.pid}/task/{enclave.process.pid}/children").read_text().split()
        maps = Path(f"/proc/{inner}/maps").read_text()
        address = int(next(line for line in maps.splitlines() if "[heap]" in line).split("-")[0], 16)
        reader = READER.format(nobody=NOBODY, pid=inner, address=address)
        done = subprocess.run([sys.executable, "-c", reader], capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == {
            "mem": "PermissionError",
            "vm": "Operation not permitted",
            "trace": -1,
        }
    finally:
        enclave.stop()


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_is_a_sound_program(machine: str):
    """Interpreted as the kernel would: every call ends in a verdict, and only listed ones are allowed."""
    lines, numbers = seccomp.program(machine), NUMBERS[machine]
    arch = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[machine]
    open_ = set(allowed(machine))
    for number in {*range(600), *numbers.values(), 0x40000000, 0x40000001}:
        want = 0x7FFF0000 if number in open_ else 0x00050001
        if number == numbers["clone3"]:
            want = 0x00050000 | 38
        assert verdict(lines, arch, number, 0, 0) == want, number
        assert verdict(lines, arch ^ 1, number, 0, 0) == 0x80000000
    assert verdict(lines, arch, numbers["clone"], 0x00010000, 0) == 0x7FFF0000
    assert verdict(lines, arch, numbers["clone"], 17, 0) == 0x00050001
    assert verdict(lines, arch, numbers["ioctl"], 0, 0x5421) == 0x7FFF0000
    assert verdict(lines, arch, numbers["ioctl"], 0, 0x5412) == 0x00050001
    for name in ("mmap", "mprotect"):
        assert verdict(lines, arch, numbers[name], 0, 0, 3) == 0x7FFF0000
        assert verdict(lines, arch, numbers[name], 0, 0, 7) == 0x00050001
    for name in ("execve", "execveat", "ptrace", "socket", "connect", "mount", "process_vm_readv", "kill"):
        assert numbers[name] not in open_


def verdict(lines, arch: int, number: int, first: int, second: int, third: int = 0) -> int:
    data = {0: number, 4: arch, 16: first, 24: second, 32: third}
    register = at = 0
    while True:
        operation, yes, no, constant = lines[at]
        if operation == 0x06:
            return constant
        if operation == 0x20:
            register, at = data[constant], at + 1
        else:
            hit = register == constant if operation == 0x15 else register & constant
            at += 1 + (yes if hit else no)


def test_every_allowed_call_has_a_number_on_both_architectures():
    libc, machine = ctypes.CDLL(None, use_errno=True), os.uname().machine
    assert all(set(ALLOWED_EVERYWHERE) <= set(table) for table in NUMBERS.values())
    assert set(ALLOWED_ON_X86) <= set(NUMBERS["x86_64"])
    assert libc.syscall(NUMBERS[machine]["getppid"]) == os.getppid()
