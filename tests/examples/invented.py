"""What differs from one run to the next: blanked to compare two runs, or moved to an invented day to be shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from config.runtime.clock import rfc3339
from config.runtime.ids import CROCKFORD, moment_of
from ledger.domain.receipts import receipt_code, transaction_id_of

MORNING = datetime(2026, 3, 2, 9, tzinfo=UTC)
_US, _MS, _HOUR = timedelta(microseconds=1), timedelta(milliseconds=1), timedelta(hours=1)
_KEY_ID = rf"[{CROCKFORD}]{{8}}"
_KEY_IDS = re.compile(rf'"(?:key_)?id": "({_KEY_ID})"')
_CHANGING = (
    r'(?<="last_used_at": )(?P<used>null|"[^"]+")'
    r"|(?P<receipt>RCP-\d{8}-[0-9A-Z]{22})"
    r"|(?P<id>\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b)"
    r"|(?P<digest>\b[0-9a-f]{64}\b)"
    r"|(?P<hex>\b[0-9a-f]{32}\b)"
    r"|(?P<time>\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?)"
    r"|(?P<day>\b\d{4}-\d\d-\d\d\b)"
    rf"|(?<=\bch_{_KEY_ID}_)(?P<secret>[{CROCKFORD}]{{32}})"
    r"|(?P<token>\beyJ[\w-]+\.[\w-]+\.[\w-]+)"
    r'|(?<=_cursor": ")(?P<cursor>[^"]+)'
    r'|(?<="ms": )(?P<ms>[\d.]+)|(?<="uptime_s": )(?P<uptime>\d+)|(?<="processing_time_ms": )(?P<spent>[\d.]+)'
    r'|(?<="position": )(?P<position>\d+)|(?<="offset": ")(?P<offset>\d+)|(?<="number": )(?P<number>\d+)'
    r'|(?P<index>(?<="index": )\d+(?=,\s+"audit_path"))'
    # Of a proof: what is hashed names rows of the database.
    r'|(?<="value": ")(?P<us>\d{16})(?=")|(?<="value": ")(?P<field>-?\d+)(?=")'
    r'|(?<="transaction": ")(?P<hashed>\[(?:[^"\\]|\\.)*)'
)
_SHOWN = {
    "secret": CROCKFORD,
    "token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl",
    "cursor": "MDAwMDAwNDcxMi5zaWduYXR1cmU",
    "day": MORNING.date().isoformat(),
    "ms": "0.4",
    "uptime": "86400",
    "spent": "2.718",
}


def blanked(told: str) -> str:
    """Return it with a blank for all that; the same id, or key, has the same number everywhere."""
    seen: dict[str, int] = {}

    def blank(found: re.Match[str]) -> str:
        kind, text = str(found.lastgroup), found[0]
        if kind not in {"id", "receipt", "key"}:
            return f"<{kind}>"
        name = str(transaction_id_of(text)) if kind == "receipt" else text
        return f"<{kind} {seen.setdefault(name, len(seen))}>"

    return _changing(told).sub(blank, told)


def invented(told: str) -> str:
    """Return it as of the invented day: ids and receipts, too, and without secrets."""
    changing = _changing(told)
    first = min(datetime.fromisoformat(one[0]) for one in changing.finditer(told) if one.lastgroup == "time")
    earlier = timedelta(seconds=(first.replace(tzinfo=UTC) - MORNING) // timedelta(seconds=1))

    def moved(identifier: UUID) -> UUID:
        is_of_the_run = identifier.version == 7 and moment_of(identifier) > first.replace(tzinfo=UTC) - _HOUR
        return UUID(int=identifier.int - (earlier // _MS << 80)) if is_of_the_run else identifier

    tellers: dict[str, Callable[[str], str]] = {
        "time": lambda text: rfc3339(datetime.fromisoformat(text).replace(tzinfo=UTC) - earlier)[: len(text)],
        "us": lambda text: str(int(text) - earlier // _US),
        "id": lambda text: str(moved(UUID(text))),
        "hex": lambda text: moved(UUID(text)).hex,
        "receipt": lambda text: receipt_code(moved(transaction_id_of(text) or UUID(int=0))),
        "hashed": lambda text: "[" + changing.sub(tell, text[1:]),
        "used": lambda text: text[:1] + changing.sub(tell, text[1:]),
    }

    def tell(found: re.Match[str]) -> str:
        kind, text = str(found.lastgroup), found[0]
        return tellers[kind](text) if kind in tellers else _SHOWN.get(kind, text)

    return changing.sub(tell, told)


def _changing(told: str) -> re.Pattern[str]:
    keys = "|".join(sorted(set(_KEY_IDS.findall(told)))) or "(?!)"
    return re.compile(rf"{_CHANGING}|(?<![0-9A-Za-z])(?P<key>{keys})(?![0-9A-Za-z])")
