"""Run management commands in this process, as a shell would see them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from io import StringIO
from typing import Any

from django.core.management import CommandError, call_command


@dataclass
class Ran:
    """The exit code, what was printed, and the error's one line."""

    code: int
    out: str
    error: str

    @property
    def answer(self) -> Any:
        """The JSON object of the last line."""
        return json.loads(self.out.splitlines()[-1])


def run(name: str, *arguments: Any) -> Ran:
    out, error = StringIO(), StringIO()
    try:
        call_command(name, *map(str, arguments), stdout=out, stderr=error)
    except CommandError as failure:
        return Ran(failure.returncode, out.getvalue(), f"{error.getvalue()}{failure}")
    return Ran(0, out.getvalue(), error.getvalue())
