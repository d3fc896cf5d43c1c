"""Who a server runs as: PostgreSQL refuses root, and nobody shall have to make an account for it."""

from __future__ import annotations

import functools
import os
import pwd
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from config.localstack import become
from config.localstack.errors import StackError


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller itself; or, for root, a user namespace of one process, or else another account."""

    in_namespace: bool = False
    account: pwd.struct_passwd | None = None

    def before(self, *, stop_signal: int = 0) -> list[str]:
        """Return the words that stand before a program's absolute path to run it as this identity.

        If this process dies, the program gets `stop_signal`.
        """
        name = "namespace" if self.in_namespace else "caller"
        if self.account:
            name = f"{self.account.pw_uid}:{self.account.pw_gid}"
        return [sys.executable, "-IS", become.__file__, str(os.getpid()), str(int(stop_signal)), name]

    def own(self, path: Path) -> None:
        """Give `path` to the identity; in a namespace it owns what its caller owns."""
        if self.account:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)


CALLER = Identity()


@functools.cache
def unprivileged() -> Identity:
    """Return an identity that is not root.

    Raises:
        StackError: the caller is root, may not make namespaces (a strict container) and finds no account.
    """
    if os.geteuid() != 0:
        return CALLER
    if sys.platform == "linux" and _works(Identity(in_namespace=True)):
        return Identity(in_namespace=True)
    for name in ("postgres", "nobody"):
        try:
            return Identity(account=pwd.getpwnam(name))
        except KeyError:
            continue
    raise StackError("PostgreSQL does not run as root: run this as an ordinary user, or set DATABASE_URL.")


def _works(identity: Identity) -> bool:
    tried = subprocess.run([*identity.before(), sys.executable, "-ISc", ""], stderr=subprocess.DEVNULL, check=False)
    return tried.returncode == 0
