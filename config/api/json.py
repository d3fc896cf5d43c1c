"""JSON in, strictly: what two parsers could read differently is refused, and no number ever becomes a float."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from itertools import accumulate
from typing import IO, Any, NoReturn

from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer

from config.api.body import BODY_LIMIT, read_body
from config.api.encoding import encode
from config.api.json_places import place, scalar, second_key, too_deep
from config.runtime.errors import DomainError, Kind

DEPTH_MAX = 32
NUMBER_LENGTH_MAX = 64
NUMBER_EXPONENT_MAX = 64
_SHOWN_MAX = 100


class JsonRefused(DomainError):
    """The body is not JSON as this service takes it; `position`, in bodies up to 64 KiB, counts characters from 0."""

    kind, code = Kind.MALFORMED, "json_invalid"


class JsonNotUtf8(JsonRefused):
    """The body is not UTF-8, or starts with a byte order mark."""

    code = "json_not_utf8"


class JsonDuplicateKey(JsonRefused):
    """An object names the same key twice."""

    code = "json_duplicate_key"


class JsonTooDeep(JsonRefused):
    """Arrays and objects are nested deeper than 32 levels."""

    code = "json_too_deep"


class JsonNul(JsonRefused):
    """A text contains NUL, which the database cannot store."""

    code = "json_nul"


class JsonSurrogate(JsonRefused):
    """A text contains half of a surrogate pair, which is no character."""

    code = "json_surrogate"


class JsonNumber(JsonRefused):
    """A number is NaN, infinite, or longer or larger than any amount: 64 characters, exponent 64."""

    code = "json_number"


class _DuplicateKey(ValueError):
    pass


class _NumberRefused(ValueError):
    pass


_TEXT_BYTES = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_NOT_MARKS = bytes(set(_NOT_BRACKETS) - set(b'"'))
_STEP = bytes.maketrans(b"[{]}", b"\x02\x02\x00\x00")
_SUSPECT = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
# One escape at a time, so that `\\u0000`, an escaped backslash and five characters, is not taken for NUL.
_ESCAPE = re.compile(r"\\(?:(?P<nul>u0000)|u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<half>u[dD][89a-fA-F])|.)", re.DOTALL)


def parse_strict(body: bytes, *, depth_max: int = DEPTH_MAX) -> Any:
    """Return the JSON value of `body`; numbers that are not written as integers are Decimal.

    Raises:
        JsonRefused: or one of its subclasses, with the `position` of the offence.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise JsonNotUtf8(position=error.start) from error
    if text.startswith("\ufeff"):
        raise JsonNotUtf8(position=0)
    if "\0" in text:
        raise JsonNul(position=text.index("\0"))
    _check_depth(body, text, depth_max)
    try:
        value = _DECODER.decode(text)
    except _DuplicateKey as error:
        raise JsonDuplicateKey(
            f"An object names the key {str(error)[:_SHOWN_MAX]!r} twice.", **place(text, second_key)
        ) from error
    except _NumberRefused as error:
        raise JsonNumber(**place(text, scalar, str(error))) from error
    except json.JSONDecodeError as error:
        raise JsonRefused(f"The body is not JSON: {error.msg}.", position=error.pos) from error
    _check_escapes(text)
    return value


class StrictJSONParser(BaseParser):
    """DRF's door to `parse_strict`; a view raises its `body_limit` (bytes) for batches, up to 16 MiB."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],  # noqa: ARG002  (the request itself knows its length)
        media_type: str | None = None,  # noqa: ARG002
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the body's value."""
        context = parser_context or {}
        limit = getattr(context["view"], "body_limit", BODY_LIMIT)
        return parse_strict(read_body(context["request"]._request, limit=limit))  # noqa: SLF001  (no public name)


class JSONRenderer(BaseRenderer):
    """DRF's door to `encode`."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,  # noqa: ARG002
        renderer_context: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> bytes:
        """Return the answer's bytes; no data, no body."""
        return b"" if data is None else encode(data)


def _check_depth(body: bytes, text: str, depth_max: int) -> None:
    """Refuse before parsing: the parser recurses, and a hostile body would end in RecursionError."""
    if body.count(b"[") + body.count(b"{") <= depth_max:
        return
    # Without escapes an adjacent pair of quotes can go: what is inside a text and what is not stays so.
    marks = body if b"\\" in body else body.translate(None, _NOT_MARKS).replace(b'""', b"")
    steps = _TEXT_BYTES.sub(b"", marks).translate(_STEP, _NOT_BRACKETS)
    if max(accumulate(step - 1 for step in steps), default=0) > depth_max:
        raise JsonTooDeep(**place(text, too_deep, depth_max))


def _check_escapes(text: str) -> None:
    if not _SUSPECT.search(text):
        return
    for escape in _ESCAPE.finditer(text):
        if escape["nul"]:
            raise JsonNul(position=escape.start())
        if escape["half"]:
            raise JsonSurrogate(position=escape.start())


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    raise _DuplicateKey(Counter(name for name, _ in pairs).most_common(1)[0][0])


def _whole(literal: str) -> int:
    if len(literal) > NUMBER_LENGTH_MAX:
        raise _NumberRefused(literal)
    return int(literal)


def _decimal(literal: str) -> Decimal:
    if len(literal) > NUMBER_LENGTH_MAX:
        raise _NumberRefused(literal)
    try:
        number = Decimal(literal)
    except InvalidOperation as error:  # an exponent of twenty digits
        raise _NumberRefused(literal) from error
    if abs(number.adjusted()) > NUMBER_EXPONENT_MAX:
        raise _NumberRefused(literal)
    return number


def _constant(literal: str) -> NoReturn:
    raise _NumberRefused(literal)


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_whole, parse_float=_decimal, parse_constant=_constant)
