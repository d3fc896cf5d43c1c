"""Messages for people: text with nothing hidden in it, JSON in lines, bytes as a dump."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

BODY_SHOWN_BYTES = 64 << 10
DUMP_SHOWN_BYTES = 1 << 10
DUMP_WIDTH = 16
SHORT_MAX = 40
# What a browser would drop, as its picture; and what would turn the text around.
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"} | {127: 0x2421}
_TURNS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0xFFFD)


@dataclass(frozen=True, slots=True)
class Body:
    """A body for people: `shown_bytes` of it, if that is not all."""

    text: str
    form: str
    size_bytes: int
    shown_bytes: int | None


def visible(text: str) -> str:
    """Return a text with a picture for every character that a browser would drop or turn the text by."""
    return text.translate(_PICTURES | _TURNS)


def short(text: str) -> str:
    """Return the beginning of a text."""
    return visible(text) if len(text) <= SHORT_MAX else f"{visible(text[:SHORT_MAX])}…"


def body_of(body: bytes, text: str | None) -> Body:
    """Return a body for people: JSON indented with its values as they came, other text as it is, bytes as a dump."""
    if text is None:
        return Body(_dump(body[:DUMP_SHOWN_BYTES]), "no text", len(body), _cut(body, DUMP_SHOWN_BYTES))
    if len(body) > BODY_SHOWN_BYTES:
        shown = body[:BODY_SHOWN_BYTES].decode(errors="ignore")
        return Body(visible(shown), "text", len(body), BODY_SHOWN_BYTES)
    lines = _json_lines(text)
    return Body(visible(text if lines is None else lines), "text" if lines is None else "JSON", len(body), None)


def _json_lines(text: str) -> str | None:
    """Return JSON indented, None if it is none or nested so deep that most of it would be indentation."""
    try:
        lines = msgspec.json.format(text, indent=2)
    except (msgspec.DecodeError, RecursionError):
        return None
    return lines if len(lines) <= BODY_SHOWN_BYTES + 10 * len(text) else None


def _cut(body: bytes, shown_bytes: int) -> int | None:
    return shown_bytes if len(body) > shown_bytes else None


def _dump(body: bytes) -> str:
    lines = []
    for start in range(0, len(body), DUMP_WIDTH):
        part = body[start : start + DUMP_WIDTH]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)  # noqa: PLR2004  (printable ASCII)
        lines.append(f"{start:08x}  {part.hex(' '):<{3 * DUMP_WIDTH}} {text}")
    return "\n".join(lines)
