"""A change list that costs the same on a thousand rows and on a hundred million: keyset pages, and no count."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import connection
from django.db.models import Field, Model, QuerySet
from django.http import HttpRequest

if TYPE_CHECKING:
    from config.api.backoffice.admins import KeysetAdmin

    _Paginator = Paginator[Any]
else:
    _Paginator = Paginator

BEFORE, AFTER = "before", "after"
WINDOW = 10_000
COUNTED_MAX = 1_000
ESTIMATE = "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass"


class CappedPaginator(_Paginator):
    """Counts no further than a thousand: what Django's own views, such as autocompletion, page with."""

    @cached_property
    def count(self) -> int:
        return cast("QuerySet[Any]", self.object_list)[:COUNTED_MAX].count()


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page begins: rows older than `key`, or with `newer` rows newer than it. No key: the newest rows."""

    key: Any = None
    newer: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, newest first, and the keys from which its neighbours begin.

    `cut` says that a window ended before the page was full: matching rows may stand beyond it.
    """

    rows: list[Any]
    older: Any
    newer: Any
    cut: bool


class KeysetChangeList(ChangeList):
    """Pages by the admin's unique column `keyset`, newest first.

    A filter that no index serves (the admin's `scanning`) looks at a window of 10,000 rows at a time and says so.
    """

    page: Page

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.request = request
        super().__init__(request, *args, **kwargs)
        self.title = str(self.opts.verbose_name_plural)
        self.title = self.title[:1].upper() + self.title[1:]

    def get_queryset(self, request: HttpRequest, exclude_parameters: list[str | None] | None = None) -> QuerySet[Model]:
        # A cursor is no filter, and a link that changes a filter must not carry it.
        for name in (BEFORE, AFTER):
            self.params.pop(name, None)
            self.filter_params.pop(name, None)
        return super().get_queryset(request, exclude_parameters)

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:  # noqa: ARG002  (Django's)
        """Ignore `?o=`: every other order sorts the table."""
        return self._order("-")

    def get_ordering_field_columns(self) -> dict[int, Any]:
        return {}

    def get_results(self, request: HttpRequest) -> None:
        cursor = self._cursor(request)
        page = self._page(cursor)
        if cursor.newer and page.newer is None:
            # Back at the top: the newest page is shown whole.
            cursor, page = Cursor(), self._page(Cursor())
        self.page = page
        self.is_first_page = cursor.key is None
        self.result_list = cast("QuerySet[Model]", page.rows)
        self.result_count = len(page.rows)
        self.full_result_count = None if self.query else self.result_count
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = self.multi_page = False

    @property
    def keyset(self) -> str:
        return cast("KeysetAdmin", self.model_admin).keyset

    @property
    def older_url(self) -> str | None:
        return None if self.page.older is None else self.get_query_string({BEFORE: self.page.older})

    @property
    def newer_url(self) -> str | None:
        return None if self.page.newer is None else self.get_query_string({AFTER: self.page.newer})

    @property
    def newest_url(self) -> str | None:
        return None if self.is_first_page else self.get_query_string()

    @property
    def window(self) -> str | None:
        """How many rows were looked at, when a filter stopped there before it filled the page."""
        return f"{WINDOW:,}" if self.page.cut else None

    @cached_property
    def estimate(self) -> str | None:
        """About how many rows the table has, to two digits, as its last ANALYZE saw it."""
        with connection.cursor() as cursor:
            cursor.execute(ESTIMATE, [self.opts.db_table])
            rows = int(cursor.fetchone()[0])
        digits = 10 ** max(0, len(str(rows)) - 2)
        return f"{round(rows / digits) * digits:,}" if rows > 0 else None

    def _order(self, sign: str) -> list[str]:
        """Return the order by keyset, written as the index of an active leading filter has it."""
        leading = cast("KeysetAdmin", self.model_admin).leading
        columns = [column for name, column in leading.items() if self.params.get(name)]
        return [f"{sign}{column}" for column in (*columns, self.keyset)]

    def _cursor(self, request: HttpRequest) -> Cursor:
        given = [(name, request.GET[name]) for name in (BEFORE, AFTER) if name in request.GET]
        if not given:
            return Cursor()
        name, text = given[0]
        if len(given) > 1 or "\x00" in text:
            raise IncorrectLookupParameters
        field = self.opts.get_field(self.keyset)
        assert isinstance(field, Field)
        try:
            key = field.to_python(text)
        except ValidationError as error:
            raise IncorrectLookupParameters from error
        return Cursor(key, newer=name == AFTER)

    def _page(self, cursor: Cursor) -> Page:
        end = self._end_of_window(cursor)
        rows = self._from(self.queryset, cursor)
        if end is not None:
            rows = rows.filter(**{f"{self.keyset}__{'lte' if cursor.newer else 'gte'}": end})
        found = list(rows[: self.list_per_page + 1])
        full = len(found) > self.list_per_page
        found = found[: self.list_per_page]
        onward = getattr(found[-1], self.keyset) if full else end
        back = (getattr(found[0], self.keyset) if found else end) if cursor.key is not None else None
        cut = end is not None and not full
        return Page(found[::-1], back, onward, cut) if cursor.newer else Page(found, onward, back, cut)

    def _end_of_window(self, cursor: Cursor) -> Any:
        """Return the key at which a scan from `cursor` stops, or None when nothing scans or the rows end earlier."""
        scanning = cast("KeysetAdmin", self.model_admin).scanning
        names = {name for spec in self.filter_specs for name in spec.expected_parameters() if name is not None}
        if self.query or not any(self.params.get(name) for name in names & scanning):
            return None
        scope: QuerySet[Any] = self.root_queryset.order_by(*self._order("-"))
        for spec in self.filter_specs:
            narrowed = None if scanning & set(spec.expected_parameters()) else spec.queryset(self.request, scope)
            scope = scope if narrowed is None else narrowed
        return self._from(scope, cursor).values_list(self.keyset, flat=True)[WINDOW - 1 : WINDOW].first()

    def _from(self, rows: QuerySet[Any], cursor: Cursor) -> QuerySet[Any]:
        if cursor.newer:
            return rows.filter(**{f"{self.keyset}__gt": cursor.key}).order_by(*self._order(""))
        return rows if cursor.key is None else rows.filter(**{f"{self.keyset}__lt": cursor.key})
