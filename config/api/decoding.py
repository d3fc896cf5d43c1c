"""From parsed JSON to typed structs, with every refusal as a JSON pointer and a stable code."""

from __future__ import annotations

import re
from typing import Any, NoReturn, TypeVar

import msgspec

from config.runtime.errors import Invalid


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    r"""What a v2 operation takes: unknown fields are refused.

    Patterns end with `\Z`: `$` also matches before a final newline.
    """


T = TypeVar("T")

FIELD_CODES = {
    "field_missing": "A required field is absent.",
    "field_unknown": "There is no such field.",
    "field_type": "The value has another JSON type.",
    "field_format": "The text is no such UUID, time with offset, or decimal.",
    "field_pattern": "The text has characters or a form that the field does not take.",
    "field_length": "The text or list is too short or too long.",
    "field_range": "The number is too small or too large.",
    "field_choice": "The value is not one of the field's values.",
    "field_invalid": "The value breaks a rule of the field.",
}
# msgspec offers no codes, only sentences; tests pin each of them to a code.
_SENTENCES = (
    (re.compile(r"Object missing required field `(?P<name>.*)`", re.DOTALL), "field_missing"),
    (re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL), "field_unknown"),
    (re.compile(r"Expected `[^`]*`, got "), "field_type"),
    (re.compile(r"Expected `str` matching regex "), "field_pattern"),
    (re.compile(r"Expected `\w+` of length "), "field_length"),
    (re.compile(r"Expected `\w+` (?:[<>]=?|that's a multiple of) "), "field_range"),
    (re.compile(r"Integer value out of range"), "field_range"),
    (re.compile(r"Invalid enum value "), "field_choice"),
    (re.compile(r"Expected `\w+` with (?:a|no) timezone component|Invalid "), "field_format"),
)
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+)\]")
_DETAIL_MAX = 200


def decode(data: Any, into: type[T]) -> T:
    """Return `data`, as `parse_strict` gave it, as a struct; nothing is coerced.

    Raises:
        Invalid: `errors` holds the first offence (msgspec stops there).
    """
    try:
        return msgspec.convert(data, into, strict=True)
    except msgspec.ValidationError as error:
        _refuse(str(error), error)


def refuse_body(data: Any) -> None:
    """Refuse, of an operation that takes no body, any other than `{}`, which clients send that always send one.

    Raises:
        Invalid
    """
    decode(data, Body)


def _refuse(message: str, cause: Exception) -> NoReturn:
    sentence, _, place = message.rpartition(" - at `") if " - at `" in message else (message, "", "")
    pointer = _pointer(place)
    code = "field_invalid"
    for pattern, candidate in _SENTENCES:
        if match := pattern.match(sentence):
            code = candidate
            if name := match.groupdict().get("name"):
                pointer = f"{pointer}/{_escaped(name)}"
            break
    detail = sentence.replace("`decimal`", "`number`")
    raise Invalid.at(pointer[:_DETAIL_MAX], code, detail[:_DETAIL_MAX]) from cause


def _pointer(place: str) -> str:
    """Turn msgspec's place into a JSON pointer: `$.items[3].amount` into `/items/3/amount`.

    Of a free-form object it names neither keys nor values: those places end at the object itself.
    """
    path = place.rsplit("`$", 1)[-1].rstrip("`").replace("[...]", "")
    return "".join(f"/{_escaped(step['name'] or step['index'])}" for step in _STEP.finditer(path))


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
