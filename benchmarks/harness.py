"""What every benchmark needs: options, tables, medians, and the state of the machine."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from config.runtime.clock import now, rfc3339

ROOT = Path(__file__).resolve().parent.parent

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How long one measurement takes, and how often each is repeated, alternated with the others."""

    seconds: float
    rounds: int
    scratch: Path


@dataclass(slots=True)
class Table:
    """One table of figures: every row has the same columns, whose names end in their unit."""

    title: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def print(self) -> None:
        print(f"\n{self.title}")
        columns = list(self.rows[0]) if self.rows else []
        cells = [columns, *([_text(row[name]) for name in columns] for row in self.rows)]
        widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
        for number, line in enumerate(cells):
            padded = (
                cell.ljust(width) if isinstance(self.rows[0][name], str) else cell.rjust(width)
                for name, cell, width in zip(columns, line, widths, strict=True)
            )
            print("  " + "  ".join(padded).rstrip())
            if number == 0:
                print("  " + "  ".join("-" * width for width in widths))
        for note in self.notes:
            print(f"  {note}")


def median(rows: Sequence[Row]) -> Row:
    """Return one row with the median of every number; texts are those of the first row."""
    first = rows[0]
    return {
        name: value if isinstance(value, str) else _middle([row[name] for row in rows]) for name, value in first.items()
    }


def _middle(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the ascending `ordered` lies (nearest rank)."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def ratio(ours: float | None, theirs: float | None) -> float | None:
    return ours / theirs if ours is not None and theirs else None


def load() -> float:
    """Return the load average of the last minute: above the number of cores, figures are those of a busy machine."""
    return os.getloadavg()[0]


def machine() -> Row:
    return {
        "at": rfc3339(now()),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_1min": load(),
    }


def write_json(file: Path, tables: Sequence[Table], options: Options) -> None:
    """Write the figures, the options and the machine; numbers in full, not as they are printed."""
    chosen = {"seconds": options.seconds, "rounds": options.rounds}
    content = {"machine": machine(), "options": chosen, "tables": [asdict(table) for table in tables]}
    file.write_text(json.dumps(content, indent=2) + "\n")


def _text(value: Any) -> str:
    """Return a number with three digits that count, a missing one as a dash."""
    if value is None:
        return "-"
    if isinstance(value, (str, int)):
        return f"{value:,}" if isinstance(value, int) else value
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"
