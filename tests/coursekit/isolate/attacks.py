"""Attempts to leave the box, each a cell that must raise. `cells(...)` makes them print what happened."""

from __future__ import annotations

import textwrap

__all__ = ["ATTACKS", "ENDLESS", "SYSCALLS", "cells"]

# Deaf to every signal that can be ignored.
ENDLESS = """
import signal
for number in (signal.SIGINT, signal.SIGALRM, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
while True:
    try:
        while True:
            pass
    except BaseException:
        pass
"""

# {secret}: a file of the instructor's. {source}: one of the course's. {home}: the instructor's; {shown} is the way to what a child
# is shown of it. {port}, {abstract}: sockets that listen outside. {victim}: a process outside. {bubblewrap}: the program.
ATTACKS = {
    "network outside": "import socket; socket.create_connection(('192.0.2.1', 80), timeout=2)",
    "name lookup": "import socket; socket.getaddrinfo('example.org', 80)",
    "loopback": "import socket; socket.create_connection(('127.0.0.1', {port}), timeout=2)",
    "abstract socket": "import socket; socket.socket(socket.AF_UNIX).connect('\\0{abstract}')",
    "vsock": "import socket; socket.socket(40, socket.SOCK_STREAM)",
    "raw packets": "import socket; socket.socket(17, socket.SOCK_RAW)",
    "kernel crypto": "import socket; socket.socket(38, socket.SOCK_SEQPACKET)",
    "read a secret": "open('{secret}').read()",
    "read the course's sources": "open('{source}').read()",
    "read the home": "import os; assert set(os.listdir('{home}')) - {shown}",
    "read the users": "open('/etc/passwd').read()",
    "follow a symlink": "import os; os.symlink('{secret}', '/tmp/link'); open('/tmp/link').read()",
    "write beside a secret": "open('{secret}.new', 'w').write('x')",
    "write to /": "open('/x', 'w').write('x')",
    "write to /usr": "open('/usr/x', 'w').write('x')",
    "write to /etc": "open('/etc/x', 'w').write('x')",
    "write to /dev": "open('/dev/x', 'w').write('x')",
    "write to the packages": "import numpy, os; open(os.path.dirname(numpy.__file__) + '/x.py', 'w')",
    "chmod the packages": "import numpy, os; os.chmod(os.path.dirname(numpy.__file__), 0o777)",
    "fill /tmp": "for k in range(9): open(f'/tmp/{{k}}', 'wb').write(bytes(8 << 20))",
    "fill shared memory": "for k in range(9): open(f'/dev/shm/{{k}}', 'wb').write(bytes(8 << 20))",
    "one large file": "open('/tmp/large', 'wb').write(bytes(17 << 20))",
    "signal others": "import os; os.kill({victim}, 9)",
    "signal all": "import os; os.kill(-1, 0); assert len([p for p in os.listdir('/proc') if p.isdigit()]) > 9",
    "look into the first process": "open('/proc/1/environ', 'rb').read()",
    "memory of the first process": "open('/proc/1/mem', 'rb')",
    "descriptors of the first process": "import os; os.listdir('/proc/1/fd')",
    "kernel settings": "open('/proc/sys/kernel/hostname', 'w').write('x')",
    "become root": "import os; os.setuid(0)",
    "raise a limit": "import resource as r; r.setrlimit(r.RLIMIT_DATA, (r.RLIM_INFINITY,) * 2)",
    "device node": "import os, stat; os.mknod('/tmp/disk', stat.S_IFBLK | 0o666, os.makedev(8, 0))",
    "unshare program": "import subprocess; subprocess.run(['unshare', '-Ur', 'true'], check=True)",
    "bubblewrap in bubblewrap": (
        "import subprocess; subprocess.run(['{bubblewrap}', '--ro-bind', '/', '/', 'true'], check=True)"
    ),
    "new namespaces by clone": "call('clone', 0x10000000 | 17, 0, 0, 0, 0)",
}
SYSCALLS = {
    "unshare": "0x10000000",
    "setns": "0, 0",
    "mount": "b'none', b'/tmp', b'tmpfs', 0, 0",
    "umount2": "b'/tmp', 2",
    "chroot": "b'/tmp'",
    "pivot_root": "b'/tmp', b'/tmp'",
    "fsopen": "b'tmpfs', 0",
    "ptrace": "16, 1, 0, 0",
    "process_vm_readv": "1, 0, 0, 0, 0, 0",
    "keyctl": "0, -3, 0, 0, 0",
    "add_key": "b'user', b'x', b'x', 1, -3",
    "bpf": "0, 0, 0",
    "userfaultfd": "1",
    "io_uring_setup": "1, 0",
    "perf_event_open": "0, 0, -1, -1, 0",
    "memfd_create": "b'x', 0",
    "shmget": "0, 4096, 0o1600",
}

_HELPERS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    result = libc.syscall(NUMBERS[name], *arguments)
    if result == 0 and name == "clone":
        os._exit(0)
    if result < 0:
        number = ctypes.get_errno()
        # Refused for a wrong argument is not refused.
        assert number in (1, 38), f"LEAK {{name}}: {{os.strerror(number)}}"
        raise PermissionError(os.strerror(number))
    return result
"""


def cells(numbers: dict[str, int], **places: object) -> dict[str, str]:
    """Name → cell. The first defines helpers; each other prints `refused: …` or `ESCAPED`."""
    made = {"": f"NUMBERS = {numbers!r}\n{_HELPERS.replace('{{', '{').replace('}}', '}')}"}
    sources = {name: source.format(**places) for name, source in ATTACKS.items()}
    sources |= {f"syscall {name}": f"call({name!r}, {arguments})" for name, arguments in SYSCALLS.items()}
    for name, source in sources.items():
        made[name] = "\n".join(
            (
                "try:",
                textwrap.indent(source.replace("; for", "\nfor"), "    "),
                "except BaseException as e:",
                "    print('ESCAPED' if 'LEAK' in str(e) else 'refused', type(e).__name__, e)",
                "else:",
                "    print('ESCAPED')",
            )
        )
    return made
