"""Where in a JSON text an offence stands: the parser's hooks do not tell."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

LOCATED_MAX = 1 << 16

# Of well-formed JSON: texts, brackets and scalars; `key` tells an object's key from a text.
_TOKEN = re.compile(
    r"""(?P<text>"[^"\\]*(?:\\.[^"\\]*)*")(?P<key>\s*:)?
        | (?P<open>[\[{]) | (?P<close>[\]}]) | (?P<scalar>[^\s,:"\[\]{}]+)""",
    re.DOTALL | re.VERBOSE,
)


def place(text: str, find: Callable[..., int], *sought: Any) -> dict[str, Any]:
    """Return the position, which takes a second and slow reading: not one that a large hostile body could buy."""
    return {"position": find(text, *sought)} if len(text) <= LOCATED_MAX else {}


def too_deep(text: str, depth_max: int) -> int:
    """Return where the first bracket beyond `depth_max` opens."""
    depth = 0
    for token in _TOKEN.finditer(text):
        depth += (token["open"] is not None) - (token["close"] is not None)
        if depth > depth_max:
            return token.start()
    return 0


def second_key(text: str) -> int:
    """Return where a key is first repeated: the parser keeps no positions for its hook."""
    seen: list[set[str]] = []
    for token in _TOKEN.finditer(text):
        if token["open"]:
            seen.append(set())
        elif token["close"]:
            seen.pop()
        elif token["key"]:
            key = json.loads(token["text"])
            if key in seen[-1]:
                return token.start()
            seen[-1].add(key)
    return 0


def scalar(text: str, literal: str) -> int:
    """Return where a number or constant stands first, outside of texts."""
    scalars = (token for token in _TOKEN.finditer(text) if token["scalar"])
    return next((token.start() for token in scalars if token["scalar"].startswith(literal)), 0)
