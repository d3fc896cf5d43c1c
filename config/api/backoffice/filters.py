"""Filters that ask the database for nothing: fixed choices, a typed name, a day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.contrib.admin import ListFilter, SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from config.runtime.ids import first_at


class ChoiceFilter(SimpleListFilter):
    """One of `options`, which stands in the column that has the parameter's name."""

    options: tuple[str, ...]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002  (Django's)
        return [(option, option.replace("_", " ")) for option in self.options]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        value = self.value()
        if value is None:
            return queryset
        if value not in self.options:
            raise IncorrectLookupParameters
        return queryset.filter(**{str(self.parameter_name): value})


class TextFilter(ListFilter):
    """A value that is typed; a subclass says in `narrow` what it means."""

    parameter_name = ""
    template = "admin/text_filter.html"
    input_type = "text"

    def __init__(
        self, request: HttpRequest, params: dict[str, list[str]], model: type[Model], model_admin: Any
    ) -> None:
        super().__init__(request, params, model, model_admin)
        self.text = params.pop(self.parameter_name, [""])[-1].strip()
        if self.text:
            self.used_parameters[self.parameter_name] = self.text

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return [self.parameter_name]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Yield the other parameters of the page, which the filter's form hands on."""
        for name, value in changelist.params.items():
            if name != self.parameter_name:
                yield {"name": name, "value": value}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        if not self.text:
            return queryset
        if "\x00" in self.text:
            raise IncorrectLookupParameters
        return self.narrow(queryset)

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows that the text means."""
        raise NotImplementedError


class DayFilter(TextFilter):
    """The rows of a UTC day, as a range of their time-ordered ids."""

    title = "day (UTC)"
    parameter_name = "day"
    input_type = "date"

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        try:
            day = datetime.combine(date.fromisoformat(self.text), time(), UTC)
            end = day + timedelta(days=1)
        except (ValueError, OverflowError) as error:
            raise IncorrectLookupParameters from error
        return rows.filter(pk__gte=first_at(day), pk__lt=first_at(end))
