"""The commands of a page of the documentation, as they stand there, against a live server."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.acceptance.server import Server
from tests.people import Tenant

ROOT = Path(__file__).parents[2]


def run_page(
    page: Path, *, bank: Tenant, server: Server, replaced: Mapping[str, str] | None = None, folder: Path = ROOT
) -> str:
    """Return what the commands of a page have printed; the first that fails ends the test."""
    script = "\n".join(re.findall(r"```sh\n(.*?)```", page.read_text(), flags=re.DOTALL))
    # `dev.py manage` would start a stack of its own: here the commands run on this test's.
    manage = shlex.join([sys.executable, str(ROOT / "manage.py")])
    for old, new in {"python3 dev.py manage": manage, **(replaced or {})}.items():
        script = script.replace(old, new)
    ran = subprocess.run(
        [shutil.which("bash") or "bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=server.environment | {"BASE": server.base_url, "KEY": bank.key},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout
