"""A network namespace for one lab, in which the machines' private addresses answer too. Linux, and root only.

It has no name and nothing that would have to be taken away: it lives in the lab's process and in whatever was started
in it, and goes with them. Standard library only, for a fast command line.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from pathlib import Path
from typing import Final

from tallship.errors import SetupError

LOCAL: Final = (("10.0.0.1", "255.0.0.0"), ("172.16.0.1", "255.240.0.0"), ("192.168.0.1", "255.255.0.0"))
"""What the loopback interface has beside 127.0.0.1: all of RFC 1918, so that every private address can be served.

Who connects without choosing comes from the first address. Hetzner API: that is a gateway, never a server.
"""
RESERVED_PORTS: Final = "6443,50000"
"""Never given to a client as its own port, where it would keep a machine from listening."""

_CLONE_NEWNET: Final = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x8913, 0x8914, 0x8916, 0x891C
_IFF_UP: Final = 1
_HINT: Final = "leave out `--network namespace`: only the private addresses of machines are missing then"


def check() -> None:
    """Raise SetupError where there can be no namespace."""
    if sys.platform != "linux":
        raise SetupError("only Linux has network namespaces", hint=_HINT)
    if os.geteuid() != 0:
        raise SetupError("only root can make a network namespace", hint=f"run it as root, or {_HINT}")


def make() -> None:
    """Move this process into a new namespace that holds nothing but loopback. Call it before any thread starts.

    Raises SetupError where the system does not allow it.
    """
    check()
    try:
        _call("unshare", _CLONE_NEWNET)
        _set_up_loopback()
        Path("/proc/sys/net/ipv4/ip_local_reserved_ports").write_text(RESERVED_PORTS)
    except OSError as error:
        raise SetupError("cannot make a network namespace", detail=str(error), hint=_HINT) from error


def enter(pid: int) -> None:
    """Move this thread, and the threads and programs that it starts, into the namespace of a process.

    Raises SetupError when that process is gone or this one may not.
    """
    try:
        file = os.open(path_of(pid), os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("setns", file, _CLONE_NEWNET)
        finally:
            os.close(file)
    except OSError as error:
        hint = "run it as root, as the lab was started"
        raise SetupError("cannot enter the lab's network namespace", detail=str(error), hint=hint) from error


def path_of(pid: int) -> str:
    """Return the file that stands for the namespace of a process."""
    return f"/proc/{pid}/ns/net"


def prefix(pid: int) -> str:
    """Return what goes before a command that is to run in the namespace of a process."""
    return f"nsenter --net={path_of(pid)} --"


def _set_up_loopback() -> None:
    """Linux: on a loopback interface all of an address' network is local, not only the address itself."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        (flags,) = struct.unpack("16xh", fcntl.ioctl(channel, _SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0))[:18])
        fcntl.ioctl(channel, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
        for number, (address, netmask) in enumerate(LOCAL, 1):
            for request, value in ((_SIOCSIFADDR, address), (_SIOCSIFNETMASK, netmask)):
                name, packed = f"lo:{number}".encode(), socket.inet_aton(value)
                fcntl.ioctl(channel, request, struct.pack("16sH2x4s8x", name, socket.AF_INET, packed))


def _call(function: str, *arguments: int) -> None:
    """Call the C library, which has what Python has from 3.12 on only. Raises OSError."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")
