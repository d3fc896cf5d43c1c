"""What we expect to go wrong, free of transport words: `config.api.problems` alone maps a kind to a status."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from inspect import cleandoc
from typing import Any, ClassVar, Self


class Kind(StrEnum):
    """What sort of no it is (design §5)."""

    MALFORMED = "malformed"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    INVALID = "invalid"
    GONE = "gone"
    PRECONDITION = "precondition"
    TOO_LARGE = "too_large"
    LIMITED = "limited"
    INTERNAL = "internal"
    BUSY = "busy"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one place of the input; `pointer` is a JSON pointer (RFC 6901) or a parameter's name."""

    pointer: str
    code: str
    detail: str


class DomainError(Exception):
    """A failure we expect: a stable `code`, a `kind`, and fields that are safe to show.

    The first line of the docstring is the default detail. `fields` go into the problem document as they are.
    """

    kind: ClassVar[Kind] = Kind.INTERNAL
    code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        detail: str = "",
        *,
        errors: tuple[FieldError, ...] = (),
        retry_after_s: int | None = None,
        **fields: Any,
    ) -> None:
        self.detail = detail or cleandoc(type(self).__doc__ or "").split("\n", 1)[0]
        self.errors = errors
        self.retry_after_s = retry_after_s
        self.fields = fields
        super().__init__(self.detail)


class Invalid(DomainError):
    """The input is well-formed, but some of it cannot be accepted; `errors` names each place."""

    kind, code = Kind.INVALID, "invalid"

    @classmethod
    def at(cls, pointer: str, code: str = "", detail: str = "") -> Self:
        """Return the refusal of one place of the input; its code is that of the whole refusal, too."""
        refusal = cls(detail)
        refusal.code = code or cls.code  # type: ignore[misc]  # what is wrong with a field may be a code of a table
        refusal.errors = (FieldError(pointer, refusal.code, refusal.detail),)
        return refusal


class NotFound(DomainError):
    """There is no such object."""

    kind, code = Kind.NOT_FOUND, "not_found"
