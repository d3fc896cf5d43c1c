"""kill -9 of everything at random while everything is done on few accounts: nothing is lost, nothing is done twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from benchmarks.storm import without_servers
from config.localstack.stack import ROOT

STORM_S = os.environ.get("STORM_S", "10")
# What even a short storm has time for.
OFTEN = ("transfer", "batch", "hold", "capture")


def test_a_storm_of_kills_and_redis_faults_does_no_harm() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.storm", STORM_S],
        cwd=ROOT,
        env=without_servers(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-5000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["harm"] == []
    faults, asks, *_ = (table["rows"] for table in report["tables"])
    assert {row["what"] for row in faults} == {
        *("web", "web worker", "worker", "relay", "postgres"),
        *("redis stopped", "redis frozen", "redis flushed"),
    }
    often = {row["kind"]: row["done"] for row in asks}
    assert all(often.get(kind, 0) > 0 for kind in OFTEN), often
    assert sum(row["accepted"] for row in asks) > 50
