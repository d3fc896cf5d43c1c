"""How the pages show moments, JSON and states."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

NOTHING = "-"


def moment(at: datetime | None) -> str:
    """Return a moment in UTC to the millisecond, such as `2026-11-21 07:30:05.123`."""
    return at.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds")[:-6] if at else NOTHING


def json_block(value: Any) -> SafeString:
    """Return JSON for people, escaped."""
    return format_html('<pre class="json">{}</pre>', json.dumps(value, indent=2, ensure_ascii=False))


def badge(state: str) -> SafeString:
    """Return a state as a label whose colour the style sheet knows by the state's name."""
    return format_html('<span class="badge badge-{}">{}</span>', state, state)
