"""Becomes another program that ends with the process that started it. Linux only; run as a script.

    python -I -S launcher.py SIGNAL PARENT_PID IDENTITY -- PROGRAM ARGUMENT...

SIGNAL is sent to the program when the thread that started it ends, however it ends (kill -9 included).
IDENTITY is `self`; `namespace`: inside a user namespace in which this user is seen as the user `nobody`,
because PostgreSQL refuses to run as root or as a user without a name; or `UID:GID`: that user.

It imports as little as possible: its start is a part of every start of a server. A script rather than
`preexec_fn`, because forking runs the at-fork handlers of libraries such as grpc.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
_NOBODY = 65534


def main(arguments: list[str]) -> None:
    """Take the identity, ask for the signal, and become the program."""
    signal_number, parent_pid, identity, _separator, *command = arguments
    libc = ctypes.CDLL(None, use_errno=True)
    if identity == "namespace":
        _enter_user_namespace(libc)
    elif identity != "self":
        _become(*map(int, identity.split(":")))
    # After the change of identity, which makes the kernel forget the request.
    libc.prctl(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)
    if os.getppid() != int(parent_pid):  # the parent ended before the request was in force
        sys.exit(1)
    try:
        os.execv(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


def _enter_user_namespace(libc: ctypes.CDLL) -> None:
    outer_uid, outer_gid = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWUSER) != 0:
        sys.exit(f"unshare: {os.strerror(ctypes.get_errno())}")
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{_NOBODY} {outer_uid} 1")
    _write("/proc/self/gid_map", f"{_NOBODY} {outer_gid} 1")


def _become(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def _write(path: str, text: str) -> None:
    file = os.open(path, os.O_WRONLY)  # pathlib would cost more than all the rest
    os.write(file, text.encode())
    os.close(file)


if __name__ == "__main__":
    main(sys.argv[1:])
