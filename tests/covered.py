"""Which lines and branches of the code the tests reach, in each process that runs some: `-p tests.covered`.

The probes of `slipcover` cost little; a tracer doubles the time. Its own plug-in wants to know of the tests' lines as
well, by the insides of pytest, which change.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import slipcover

FOLDER = Path(".coverage")
SOURCE = ["config", "ledger"]
OMIT = ["*/migrations/*", "config/localstack/*"]

# It can take out probes that have told what they know, while threads run that pass them: some have stopped there.
NEVER = 2**31 - 1

reached = slipcover.Slipcover(branch=True, source=SOURCE, omit=OMIT, exclude_also=[r"\.\.\.$"], d_miss_threshold=NEVER)
# What is imported from here on is measured.
slipcover.ImportManager(reached, slipcover.FileMatcher(sources=SOURCE, omit=OMIT)).__enter__()


def pytest_sessionfinish() -> None:
    """Leave a file of what this process has reached."""
    FOLDER.mkdir(exist_ok=True)
    name = os.environ.get("PYTEST_XDIST_WORKER", "controller")
    (FOLDER / f"{name}.json").write_text(json.dumps(reached.get_coverage()), encoding="utf-8")
