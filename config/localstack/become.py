"""A program that becomes somebody, ends with its parent, and then is another program.

Run as a script before the real program: nothing of ours then runs between the fork and the exec of a process that may
have threads.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import sys
from pathlib import Path

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1


def main(parent: str, stop_signal: str, identity: str, *program: str) -> None:
    """Become `identity` ("caller", "namespace" or "uid:gid"); a dying parent then sends `stop_signal` ("0": none)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if identity == "namespace":
        _enter_user_namespace(libc)
    elif identity != "caller":
        uid, gid = map(int, identity.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After the change of identity, which clears it.
        libc.prctl(_PR_SET_PDEATHSIG, int(stop_signal))
        if os.getppid() != int(parent):
            sys.exit(1)
    os.execv(program[0], program)  # noqa: S606  (the program that our caller names)


def _enter_user_namespace(libc: ctypes.CDLL) -> None:
    """Inside, this process is an ordinary account; outside, it still owns its caller's files."""
    uid, gid = os.geteuid(), os.getegid()
    # initdb asks /etc/passwd for its own name, so the uid inside must be a known one.
    inside = next((account for account in pwd.getpwall() if account.pw_uid), None)
    if libc.unshare(_CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{inside.pw_uid if inside else 1000} {uid} 1"),
        ("gid_map", f"{inside.pw_gid if inside else 1000} {gid} 1"),
    ):
        Path(f"/proc/self/{name}").write_text(text, encoding="ascii")


if __name__ == "__main__":
    main(*sys.argv[1:])
