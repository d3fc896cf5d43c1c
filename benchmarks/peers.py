"""The virtual environment of django-hordak, made on first use and kept while its lock file stays the same."""

from __future__ import annotations

import hashlib
import subprocess
import venv
from pathlib import Path

from benchmarks.harness import ROOT

VENV = ROOT / ".bench-venv"
BUILD = ROOT / "benchmarks" / "requirements-hordak-build.txt"
LOCKED = ROOT / "benchmarks" / "requirements-hordak.txt"


def hordak_python() -> Path:
    """Return the interpreter that has django-hordak, installed from PyPI as locked."""
    python, stamp = VENV / "bin" / "python", VENV / "installed.sha256"
    wanted = hashlib.sha256(BUILD.read_bytes() + LOCKED.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        venv.create(VENV, clear=True, symlinks=True, with_pip=True)
        _install(python, BUILD, "--only-binary=:all:")
        # Of the pinned version there is only a source package; what builds it is the locked one, not the newest.
        _install(python, LOCKED, "--only-binary=:all:", "--no-binary=django-hordak", "--no-build-isolation")
        stamp.write_text(wanted)
    return python


def _install(python: Path, requirements: Path, *options: str) -> None:
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "--no-deps", *options, "-r", str(requirements)], check=True)
