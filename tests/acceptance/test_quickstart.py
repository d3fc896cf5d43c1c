"""The quickstart's commands, as they stand on the page, against a live server."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.server import Server
from tests.people import Tenant

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "quickstart.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def server(db) -> Iterator[Server]:
    with Server() as running:
        yield running


def test_every_block_of_the_quickstart_works_as_it_stands(bank: Tenant, server: Server, tmp_path: Path) -> None:
    # `dev.py manage` would start a stack of its own: here the commands run on this test's.
    manage = shlex.join([sys.executable, str(ROOT / "manage.py")])
    script = "\n".join(BLOCKS).replace("python3 dev.py manage", manage)
    name = f"Shop {bank.client.pk}"
    script = script.replace('"My shop"', f'"{name}"').replace('"Czech bank"', f'"{name}"')

    ran = subprocess.run(
        [shutil.which("bash") or "bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT,
        env=server.environment | {"BASE": server.base_url, "KEY": bank.key},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count('"path":"users:carol:EUR"') >= 2
    assert '"status":"completed"' in ran.stdout
    assert '"code":"insufficient_funds"' in ran.stdout
    assert '"captured":"3.00"' in ran.stdout
    assert '"type":"reversal"' in ran.stdout
    assert re.search(r"^ch_[0-9A-Z]{8}_[0-9A-Z]{32}$", ran.stdout, flags=re.MULTILINE)
