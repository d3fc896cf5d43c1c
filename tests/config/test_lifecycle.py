"""Lines about transactions are written past the logger, and keep secrets as those of the logger do."""

from __future__ import annotations

import json

from config.runtime.lifecycle import Step, lifecycle
from config.runtime.logging import unit_of_work


def test_what_looks_like_a_key_is_on_no_line_whether_a_step_or_the_unit_says_it(capfd) -> None:
    with unit_of_work("message", request_id="ch_AB12_of-the-unit"):
        lifecycle("transaction.start", [Step(receipt="RCP-1", request_id="ch_AB12_of-the-step"), Step(receipt="RCP-2")])

    written = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [(line["receipt"], line["request_id"]) for line in written if "receipt" in line] == [
        ("RCP-1", "[redacted]"),
        ("RCP-2", "[redacted]"),
    ]
