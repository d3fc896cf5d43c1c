#!/usr/bin/env python3
"""From nothing but Python to the running service: `python3 dev.py --help`.

Makes `.venv`, installs what requirements-dev.txt locks, and becomes `python -m config.localstack`.
"""

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

# Before anything that older versions, which read this file too, would not understand.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]} ({sys.executable}).")
if os.name != "posix":
    sys.exit("Linux or macOS is needed; on Windows, use WSL 2.")

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
REQUIREMENTS = ROOT / "requirements-dev.txt"


def main(arguments: list[str]) -> None:
    from config.localstack.arguments import parse  # these need the version that was checked above
    from config.localstack.locks import FileLock

    parse(arguments)  # wrong arguments end here, before anything is installed
    lock = FileLock(ROOT / ".local" / "install.lock")
    lock.acquire(wait=True)
    install(lock.descriptor)
    lock.close()
    os.chdir(ROOT)
    os.execv(PYTHON, [str(PYTHON), "-m", "config.localstack", *arguments])  # noqa: S606  (no shell is wanted)


def install(lock: int) -> None:
    """Make `.venv` hold what the lock file names; nothing is done when it does already. pip holds `lock` too."""
    stamp = VENV / "installed.sha256"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if PYTHON.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    print(
        "Installing what requirements-dev.txt locks; the first time takes half a minute.", file=sys.stderr, flush=True
    )
    if not PYTHON.exists():
        # Debian keeps ensurepip in a package of its own (python3-venv); without it the caller's pip does the work.
        venv.create(VENV, symlinks=True, with_pip=importlib.util.find_spec("ensurepip") is not None)
    install_locked(pip(), lock)
    stamp.write_text(wanted)


def pip() -> list[str]:
    """Return the command that installs into `.venv`."""
    for command in ([str(PYTHON), "-m", "pip"], [sys.executable, "-m", "pip", "--python", str(PYTHON)]):
        if subprocess.run([*command, "--version"], capture_output=True, check=False).returncode == 0:
            return command
    sys.exit(f"pip is needed: {sys.executable} has none (Debian and Ubuntu: apt install python3-pip).")


def install_locked(command: list[str], lock: int) -> None:
    """Install what the lock file names and nothing else: checked hashes, no resolution, no compiler."""
    options = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps", "--only-binary=:all:"]
    # Most of it is never imported; Python compiles what is.
    command = [*command, "install", "--no-compile", *options, "-r", str(REQUIREMENTS)]
    # A pip whose caller was killed works on: with the lock it keeps the next one waiting.
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, pass_fds=(lock,))
    # Said once per package when pip's configuration names a folder that is not there.
    notes = [line for line in done.stderr.splitlines() if not re.search("Location .* is ignored", line)]
    if notes:
        print(*notes, sep="\n", file=sys.stderr)
    if done.returncode:
        sys.exit("The installation failed; run the command again when the reason above is gone.")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
