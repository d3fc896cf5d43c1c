"""List filters, strictly: what django-filter would silently ignore or guess is refused, parameter by parameter."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar, Self
from urllib.parse import urlencode

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import EMPTY_VALUES
from django.db.models import Model, QuerySet
from django.http import QueryDict

from config.runtime.errors import DomainError, FieldError, Kind

LIST_LENGTH_MAX = 100
# What every list of pages takes beside its filters; config.api.pages reads them.
PAGING = frozenset({"limit", "cursor", "count"})
PARAMETER_CODES = {
    "parameter_unknown": "The operation has no such parameter.",
    "parameter_empty": "The parameter has no value; leave it out instead.",
    "parameter_repeated": "The parameter is given more than once.",
    "parameter_invalid": "The value is none that the parameter takes.",
}
MEMBERS_MAX, MEMBER_LENGTH_MAX = 10, 500
MEMBER_KEY = r"[A-Za-z0-9_.-]{1,40}"
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)


class ParametersRefused(DomainError):
    """Some query parameters cannot be accepted; `errors` names each."""

    kind, code = Kind.MALFORMED, "parameters_refused"


class MomentField(forms.Field):
    """RFC 3339 with an offset; gives an aware datetime in UTC."""

    openapi: ClassVar[dict[str, Any]] = {"type": "string", "format": "date-time"}
    expected = "A time with offset, such as 2026-11-21T06:44:00Z."

    def to_python(self, value: str | None) -> datetime | None:
        """Return the moment, None when absent."""
        if not value:
            return None
        if " " in value and _MOMENT.fullmatch(value.replace(" ", "+")):
            raise ValidationError("A `+` in a URL means a space: write the offset's plus as %2B.")
        if not _MOMENT.fullmatch(value):
            raise ValidationError(self.expected)
        try:
            return datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise ValidationError("There is no such time.") from error


class MomentFilter(django_filters.Filter):
    """A bound in time."""

    field_class = MomentField


class _ChoicesField(forms.Field):
    """Comma-separated values, at most 100, each one of `choices` (any text when there are none)."""

    openapi: ClassVar = {
        "type": "array",
        "items": {"type": "string", "pattern": "^[^,]+$"},
        "minItems": 1,
        "maxItems": LIST_LENGTH_MAX,
    }

    def __init__(self, *, choices: Collection[str] = (), **kwargs: Any) -> None:
        self.choices = frozenset(choices)
        super().__init__(**kwargs)

    def to_python(self, value: str | None) -> list[str] | None:
        if not value:
            return None
        values = value.split(",")
        if len(values) > LIST_LENGTH_MAX:
            raise ValidationError(f"At most {LIST_LENGTH_MAX} values.")
        for choice in values:
            if not choice or (self.choices and choice not in self.choices):
                raise ValidationError(
                    f"{choice[:40]!r} is not one of {', '.join(sorted(self.choices)) or 'the values'}."
                )
        return values


class ChoicesFilter(django_filters.Filter):
    """`name__in=a,b`: `ChoicesFilter(field_name="status", choices=Status.values)`."""

    field_class = _ChoicesField

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **({"lookup_expr": "in"} | kwargs))


class StrictFilterSet(django_filters.FilterSet):
    """Base of every list's filters: read the parameters once, then `narrow` any queryset of the model by them.

    `contained` names a column of JSON objects: `metadata.order=7` finds those that hold the text "7" under that key, by
    containment. No key of a client's ever becomes a look-up of Django's.
    """

    contained: ClassVar[str] = ""

    @classmethod
    def read(cls, parameters: QueryDict, *, also: Collection[str] = PAGING) -> Self:
        """Return the filters of a request; `also` names the parameters that somebody else reads.

        Raises:
            ParametersRefused: with one error for each parameter that is wrong.
        """
        members = [name for name in parameters if cls.contained and name.startswith(f"{cls.contained}.")]
        refuse_odd_parameters(parameters, known={*cls.base_filters, *also, *members})
        filters = cls(data=parameters, queryset=_nothing(cls))
        refused = {name: " ".join(messages) for name, messages in filters.form.errors.items()}
        for name in parameters:  # a field that gives nothing for a value that is there would filter nothing
            if name in filters.filters and filters.form.cleaned_data.get(name) in EMPTY_VALUES:
                refused.setdefault(name, PARAMETER_CODES["parameter_invalid"])
        refused |= _refused_members(cls.contained, members, parameters)
        errors = tuple(FieldError(name, "parameter_invalid", detail) for name, detail in refused.items())
        if errors:
            raise ParametersRefused(errors=errors)
        return filters

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return those of `rows` that pass every filter given."""
        narrowed: QuerySet[Any] = self.filter_queryset(rows)
        prefix = f"{self.contained}."
        held = {name.removeprefix(prefix): self.data[name] for name in self.given - self.filters.keys()}
        return narrowed.filter(**{f"{self.contained}__contains": held}) if held else narrowed

    @property
    def given(self) -> set[str]:
        """The names of the filters that are given."""
        return {
            name
            for name in self.data
            if name in self.filters or (self.contained and name.startswith(f"{self.contained}."))
        }

    @property
    def canonical(self) -> str:
        """Return the filters as one text that does not depend on the parameters' order: what a cursor is bound to."""
        return urlencode(sorted((name, self.data[name]) for name in self.given))


def refuse_odd_parameters(parameters: QueryDict, *, known: Collection[str]) -> None:
    """Refuse unknown, empty, repeated and undecodable parameters.

    Raises:
        ParametersRefused
    """
    errors = tuple(error for name in parameters for error in _oddities(name, parameters.getlist(name), known))
    if errors:
        raise ParametersRefused(errors=errors)


def parse_flag(parameters: QueryDict, name: str) -> bool:
    """Return whether a parameter says `true`; without it, False.

    Raises:
        ParametersRefused: another value than true or false.
    """
    text = parameters.get(name, "false")
    if text not in {"true", "false"}:
        raise ParametersRefused(errors=(FieldError(name, "parameter_invalid", "Either true or false."),))
    return text == "true"


def parse_moment(parameters: QueryDict, name: str) -> datetime | None:
    """Return the moment that a parameter names, in UTC; without it, None.

    Raises:
        ParametersRefused: it is no moment, or has no offset.
    """
    try:
        moment: datetime | None = MomentField(required=False).clean(parameters.get(name))
    except ValidationError as error:
        raise ParametersRefused(errors=(FieldError(name, "parameter_invalid", error.messages[0]),)) from error
    return moment


def _oddities(name: str, values: list[str], known: Collection[str]) -> Iterator[FieldError]:
    code = None
    if name not in known:
        code = "parameter_unknown"
    elif len(values) > 1:
        code = "parameter_repeated"
    elif not values[0]:
        code = "parameter_empty"
    elif "\ufffd" in values[0] or "\0" in values[0]:  # Django decodes what is not UTF-8 as U+FFFD
        code = "parameter_invalid"
    if code:
        yield FieldError(name[:100], code, PARAMETER_CODES[code])


def _refused_members(column: str, names: list[str], parameters: QueryDict) -> dict[str, str]:
    """Return what is wrong with filters by the members of a JSON column, by their names."""
    refused = {}
    for place, name in enumerate(names):
        if not re.fullmatch(MEMBER_KEY, name.removeprefix(f"{column}."), re.ASCII):
            refused[name[:100]] = "A key has 1 to 40 characters: letters, digits and _.-"
        elif len(parameters[name]) > MEMBER_LENGTH_MAX:
            refused[name] = f"At most {MEMBER_LENGTH_MAX} characters."
        elif place >= MEMBERS_MAX:
            refused[name] = f"At most {MEMBERS_MAX} of them."
    return refused


def _nothing(filters: type[django_filters.FilterSet]) -> QuerySet[Model]:
    model: type[Model] = filters._meta.model  # noqa: SLF001  (django-filter's own documented place)
    return model._default_manager.none()  # noqa: SLF001  (Django's documented name)
