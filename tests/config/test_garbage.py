"""The collector in processes that serve."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SAID = """
import gc, json
print(json.dumps({"frozen": gc.get_freeze_count(), "young": gc.get_threshold()[0]}))
"""
WEB = "import config.wsgi"
WORKER = "from config.broker import Worker, broker; broker.emit_before('worker_boot', Worker(broker))"


@pytest.mark.parametrize("process", [WEB, WORKER], ids=["web", "worker"])
def test_what_a_process_loads_at_its_start_is_never_looked_through_again(process: str):
    answer = subprocess.run([sys.executable, "-c", process + SAID], capture_output=True, text=True, check=True)
    said = json.loads(answer.stdout)
    assert said["frozen"] > 50_000
    assert said["young"] == 10_000
