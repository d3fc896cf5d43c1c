"""The Prefer header (RFC 7240): whether the client waits for the outcome, and how long."""

from __future__ import annotations

import re
from dataclasses import dataclass

from config.runtime.errors import DomainError, Kind

WAIT_S_MAX = 30
RESPOND_ASYNC = "respond-async"
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105  (a token of RFC 9110, no secret)
_WORD = rf'(?:{_TOKEN}|"(?:[^"\\]|\\.)*")?'
_PREFERENCE = re.compile(
    rf"\s*(?P<name>{_TOKEN})(?:\s*=\s*(?P<value>{_WORD}))?(?:\s*;\s*(?:{_TOKEN}(?:\s*=\s*{_WORD})?)?)*\s*(?:,|\Z)"
)


class PreferMalformed(DomainError):
    """Prefer must follow RFC 7240, with `wait` a whole number from 1 to 30 seconds."""

    kind, code = Kind.MALFORMED, "prefer_malformed"


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the client prefers; `wait_s` is None when it names no time."""

    wait_s: int | None = None
    respond_async: bool = False

    def applied(self, *, waited: bool) -> str:
        """Return the text of Preference-Applied, `""` when nothing that was asked for was done."""
        if waited:
            return f"wait={self.wait_s}" if self.wait_s is not None else ""
        return RESPOND_ASYNC if self.respond_async else ""


def parse_prefer(header: str | None) -> Preferences:
    """Return the preferences that this service knows; others are ignored, of a repeated one the first counts (§2).

    Raises:
        PreferMalformed
    """
    known: dict[str, str] = {}
    position, text = 0, header or ""
    while position < len(text):
        preference = _PREFERENCE.match(text, position)
        if preference is None:
            raise PreferMalformed
        known.setdefault(preference["name"].lower(), (preference["value"] or "").strip('"'))
        position = preference.end()
    wait_s = _wait_s(known["wait"]) if "wait" in known else None
    return Preferences(wait_s=wait_s, respond_async=RESPOND_ASYNC in known)


def _wait_s(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,2}", value) or not 1 <= int(value) <= WAIT_S_MAX:
        raise PreferMalformed
    return int(value)
