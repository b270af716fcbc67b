"""A seccomp filter: system calls that no notebook needs and that have opened sandboxes before are refused.

The filter is classic BPF, assembled here from a table of numbers (Linux's `unistd.h`; see seccomp(2)).
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

__all__ = ["DENIED", "NUMBERS", "install", "program", "supported"]

# Name: number on x86_64, number on aarch64 (None: the machine has no such call).
DENIED: dict[str, tuple[int | None, int | None]] = {
    # namespaces and mounts
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    # memory that no process's size shows and no file system limits
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    # large kernel interfaces with a history
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "fanotify_init": (300, 262),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "lookup_dcookie": (212, 18),
    # the machine itself
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "acct": (163, 89),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
}
# Calls that are refused for some arguments only.
NUMBERS = {"clone": (56, 220), "clone3": (435, 435), "socket": (41, 198), "ioctl": (16, 29)}

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET; NEWTIME (0x80) is a signal's bits in clone.
_NEW_NAMESPACES = 0x7E020000
# Other families reach outside a network namespace (vsock) or are attack surface (alg, packet).
_SOCKET_FAMILIES = (1, 2, 10, 16)  # unix, inet, inet6, netlink
_TERMINAL_INJECTION = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_X32 = 0x40000000

_LOAD, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_NR, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24  # offsets in struct seccomp_data; the low words of the arguments
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = _ERRNO | 1, _ERRNO | 38


def supported() -> bool:
    """Whether there is a filter for this machine."""
    return sys.platform == "linux" and platform.machine() in _ARCHITECTURES


def program(machine: str) -> bytes:
    """The filter for a machine as an array of `struct sock_filter`.

    >>> len(program("x86_64")) % 8
    0

    Raises:
        ValueError: there is none for this machine.
    """
    if machine not in _ARCHITECTURES:
        raise ValueError(f"expected a machine of {', '.join(_ARCHITECTURES)}, got {machine!r}")
    column, architecture = _ARCHITECTURES[machine]
    number = {name: pair[column] for name, pair in (DENIED | NUMBERS).items()}
    code = [(_LOAD, 0, 0, _ARCH), (_JEQ, 1, 0, architecture), (_RET, 0, 0, _KILL), (_LOAD, 0, 0, _NR)]
    if machine == "x86_64":  # the same calls under other numbers
        code += [(_JGE, 0, 1, _X32), (_RET, 0, 0, _ENOSYS)]
    for name in DENIED:
        if number[name] is not None:
            code += [(_JEQ, 0, 1, number[name]), (_RET, 0, 0, _EPERM)]
    # clone3 keeps its flags in memory, where a filter cannot look: libraries fall back to clone.
    code += [(_JEQ, 0, 1, number["clone3"]), (_RET, 0, 0, _ENOSYS)]
    code += _when(
        number["clone"], _ARG0, [(_JSET, 0, 1, _NEW_NAMESPACES), (_RET, 0, 0, _EPERM), (_RET, 0, 0, _ALLOW)]
    )
    families = [(_JEQ, len(_SOCKET_FAMILIES) - i, 0, f) for i, f in enumerate(_SOCKET_FAMILIES)]
    code += _when(number["socket"], _ARG0, [*families, (_RET, 0, 0, _EPERM), (_RET, 0, 0, _ALLOW)])
    injections = [(_JEQ, len(_TERMINAL_INJECTION) - i, 0, r) for i, r in enumerate(_TERMINAL_INJECTION)]
    code += _when(number["ioctl"], _ARG1, [*injections, (_RET, 0, 0, _ALLOW), (_RET, 0, 0, _EPERM)])
    code.append((_RET, 0, 0, _ALLOW))
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def _when(number: int | None, argument: int, rules: list[tuple[int, int, int, int]]) -> list:
    """`rules`, which end in a return, on an argument of the call `number`."""
    return [(_JEQ, 0, len(rules) + 1, number), (_LOAD, 0, 0, argument), *rules]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install() -> None:
    """Put the filter on this thread and all it will start, for good. Needs no_new_privs.

    Raises:
        OSError: the kernel refuses.
    """
    code = program(platform.machine())
    buffer = ctypes.create_string_buffer(code, len(code))
    libc = ctypes.CDLL(None, use_errno=True)
    argument = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    if libc.prctl(22, 2, ctypes.byref(argument), 0, 0):  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        error = ctypes.get_errno()
        raise OSError(error, f"seccomp filter: {os.strerror(error)}")
