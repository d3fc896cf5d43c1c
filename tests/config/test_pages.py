from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import ClassVar
from uuid import UUID

import pytest
from django.core.signing import Signer
from django.db import connection, models
from django.test import Client

from config.api import pages
from config.api.pages import Count, CursorMalformed, CursorMismatch, Page, PageQuery, page_of
from config.runtime.ids import first_at, uuid7
from tests.config.routes import Row

AT = datetime(2026, 11, 21, tzinfo=UTC)
COUNT = 5_000
KEY = {"Authorization": "Bearer 1:orders:read"}


class Tagged(models.Model):
    """Rows of a temporary table that the tests make."""

    id = models.UUIDField(primary_key=True)

    objects: ClassVar[models.Manager[Tagged]] = models.Manager()

    class Meta:
        managed = False
        app_label = "config_tests"
        db_table = "config_test_tagged"


@pytest.fixture
def rows(db) -> Iterator[None]:
    """5,000 rows of one and the same moment, every hundredth of them blue; ids have gaps."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE config_test_row (id bigint PRIMARY KEY, color text, at timestamptz)")
        cursor.execute("CREATE TEMP TABLE config_test_tagged (id uuid PRIMARY KEY)")
        Row.objects.bulk_create(
            Row(id=number * 3, color="blue" if number % 100 == 0 else "red", at=AT) for number in range(1, COUNT + 1)
        )
        yield
        cursor.execute("DROP TABLE config_test_row, config_test_tagged")


def query(cursor: str | None = None, *, limit: int = 200, binding: str = "list", count: bool = False) -> PageQuery:
    return PageQuery(binding=binding, limit=limit, cursor=cursor or "", is_counted=count)


def blue(rows: models.QuerySet[Row]) -> models.QuerySet[Row]:
    return rows.filter(color="blue")


def ids(page: Page[Row]) -> list[int]:
    return [row.pk for row in page.rows]


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("limit", [1000, 7])
def test_walking_on_and_back_meets_every_row_once_and_in_order(rows, descending: bool, limit: int):
    scope = Row.objects.filter(pk__lte=600) if limit == 7 else Row.objects.all()
    expected = list(scope.order_by("-pk" if descending else "pk").values_list("pk", flat=True))

    page = page_of(scope, query(limit=limit), descending=descending)
    onward, last = ids(page), page
    assert page.prev_cursor is None
    while page.next_cursor:
        page = page_of(scope, query(page.next_cursor, limit=limit), descending=descending)
        onward, last = onward + ids(page), page
        assert page.prev_cursor is not None
    back = ids(last)
    while page.prev_cursor:
        page = page_of(scope, query(page.prev_cursor, limit=limit), descending=descending)
        back = ids(page) + back
        assert page.next_cursor is not None

    assert onward == expected
    assert back == expected


def test_a_full_last_page_has_no_next_cursor(rows):
    scope = Row.objects.filter(pk__lte=300)

    first = page_of(scope, query(limit=50))
    second = page_of(scope, query(first.next_cursor, limit=50))

    assert (len(first.rows), len(second.rows), second.next_cursor) == (50, 50, None)


def test_rows_that_arrive_or_go_while_paging_neither_repeat_nor_hide_others(rows):
    expected = list(Row.objects.order_by("-pk").values_list("pk", flat=True))
    seen, page = [], page_of(Row.objects.all(), query())
    while True:
        seen += ids(page)
        Row.objects.create(id=Row.objects.latest("pk").pk + 1, color="red", at=AT)
        Row.objects.filter(pk=seen[-1]).delete()
        if page.next_cursor is None:
            break
        page = page_of(Row.objects.all(), query(page.next_cursor))

    assert seen == expected


def test_rows_of_one_millisecond_page_both_ways_while_others_come_between_them(rows):
    places = Random(7).sample(range(1 << 62), COUNT + 100)
    made = [UUID(int=first_at(AT).int | place) for place in places]
    there, coming = made[:COUNT], iter(made[COUNT:])
    Tagged.objects.bulk_create(Tagged(id=identifier) for identifier in there)

    def walked(start: str | None, way: str) -> tuple[list[UUID], Page[Tagged]]:
        page = page_of(Tagged.objects.all(), query(start))
        seen = [row.pk for row in page.rows]
        while cursor := getattr(page, way):
            Tagged.objects.create(id=next(coming))
            page = page_of(Tagged.objects.all(), query(cursor))
            found = [row.pk for row in page.rows]
            seen = seen + found if way == "next_cursor" else found + seen
        return seen, page

    onward, last = walked(None, "next_cursor")
    back, _ = walked(last.prev_cursor, "prev_cursor")

    known, expected = set(there), sorted(there, reverse=True)
    for seen in (onward, back + [row.pk for row in last.rows]):
        assert [one for one in seen if one in known] == expected
        assert seen == sorted(set(seen), reverse=True)


def test_new_rows_are_met_on_the_way_back(rows):
    first = page_of(Row.objects.all(), query(limit=10))
    second = page_of(Row.objects.all(), query(first.next_cursor, limit=10))
    Row.objects.create(id=100_000, color="red", at=AT)

    back = page_of(Row.objects.all(), query(second.prev_cursor, limit=10))
    top = page_of(Row.objects.all(), query(back.prev_cursor, limit=10))

    assert ids(back) == ids(first)
    assert (ids(top), top.prev_cursor) == ([100_000], None)


@pytest.mark.parametrize("descending", [True, False])
def test_a_filter_without_index_looks_at_a_bounded_window_and_still_finds_everything(rows, descending: bool):
    expected = list(blue(Row.objects.all()).order_by("-pk" if descending else "pk").values_list("pk", flat=True))

    pages = [page_of(Row.objects.all(), query(limit=40), narrow=blue, descending=descending, window=1000)]
    while cursor := pages[-1].next_cursor:
        pages.append(
            page_of(Row.objects.all(), query(cursor, limit=40), narrow=blue, descending=descending, window=1000)
        )

    assert [pk for page in pages for pk in ids(page)] == expected
    assert [len(page.rows) for page in pages] == [10] * 5 + [0]

    back = ids(pages[-1])
    page = pages[-1]
    while page.prev_cursor:
        page = page_of(
            Row.objects.all(), query(page.prev_cursor, limit=40), narrow=blue, descending=descending, window=1000
        )
        back = ids(page) + back
    assert back == expected


def test_pages_of_matches_within_a_window_stop_at_the_limit(rows):
    def red(found: models.QuerySet[Row]) -> models.QuerySet[Row]:
        return found.filter(color="red")

    page = page_of(Row.objects.all(), query(limit=50), narrow=red, window=1000)
    following = page_of(Row.objects.all(), query(page.next_cursor, limit=50), narrow=red, window=1000)

    assert ids(page) + ids(following) == list(red(Row.objects.all()).order_by("-pk").values_list("pk", flat=True)[:100])


def test_an_empty_window_answers_an_empty_page_and_a_cursor_in_both_directions(rows):
    def none(found: models.QuerySet[Row]) -> models.QuerySet[Row]:
        return found.filter(color="green")

    first = page_of(Row.objects.all(), query(), narrow=none, window=2000)
    second = page_of(Row.objects.all(), query(first.next_cursor), narrow=none, window=2000)
    back = page_of(Row.objects.all(), query(second.prev_cursor), narrow=none, window=2000)

    assert (first.rows, first.prev_cursor) == ([], None)
    assert (second.rows, back.rows) == ([], [])
    assert first.next_cursor is not None
    assert second.next_cursor is not None
    onward = page_of(Row.objects.all(), query(back.next_cursor, limit=1))
    assert ids(onward) == [(COUNT - 2000) * 3]


def test_a_list_is_ordered_by_uuids_as_well(rows):
    made = [uuid7() for _ in range(120)]
    Tagged.objects.bulk_create(Tagged(id=identifier) for identifier in made)

    page = page_of(Tagged.objects.all(), query(limit=50))
    found = [row.pk for row in page.rows]
    while page.next_cursor:
        page = page_of(Tagged.objects.all(), query(page.next_cursor, limit=50))
        found += [row.pk for row in page.rows]

    assert found == made[::-1]


def test_a_page_in_the_depth_costs_one_statement(rows, django_assert_num_queries):
    cursor = page_of(Row.objects.all(), query()).next_cursor

    with django_assert_num_queries(1) as captured:
        page_of(Row.objects.all(), query(cursor))

    assert "OFFSET" not in captured[0]["sql"]


def test_a_cursor_is_bound_to_its_list_order_and_column(rows):
    cursor = page_of(Row.objects.all(), query(limit=1)).next_cursor

    with pytest.raises(CursorMismatch):
        page_of(Row.objects.all(), query(cursor, binding="another list"))
    with pytest.raises(CursorMismatch):
        page_of(Row.objects.all(), query(cursor), descending=False)


def test_filters_that_are_not_given_cost_no_window(rows, django_assert_num_queries):
    with django_assert_num_queries(1):
        page_of(Row.objects.all(), query(), narrow=lambda found: found.all(), window=10)


def test_filters_that_are_given_cost_one_statement_more(rows, django_assert_num_queries):
    with django_assert_num_queries(2):
        page_of(Row.objects.all(), query(), narrow=blue)


def test_a_count_is_of_the_whole_list_on_whichever_page(rows):
    first = page_of(Row.objects.all(), query(limit=10, count=True))
    second = page_of(Row.objects.all(), query(first.next_cursor, limit=10, count=True))
    parts = [Row.objects.filter(color="blue"), Row.objects.filter(color="red", pk__lte=300)]

    assert first.count == second.count == Count(COUNT, is_capped=False)
    assert page_of(Row.objects.all(), query(count=True), narrow=blue).count == Count(50, is_capped=False)
    assert page_of(parts, query(count=True), descending=False).count == Count(50 + 99, is_capped=False)
    assert page_of(Row.objects.none(), query(count=True)).count == Count(0, is_capped=False)


@pytest.mark.parametrize(("most", "counted"), [(COUNT, Count(COUNT, False)), (COUNT - 1, Count(COUNT - 1, True))])
def test_a_count_ends_at_its_cap_and_says_so(rows, monkeypatch, django_assert_num_queries, most: int, counted: Count):
    monkeypatch.setattr(pages, "COUNT_MAX", most)

    with django_assert_num_queries(4) as asked:  # the page, BEGIN, the count, COMMIT
        assert page_of(Row.objects.all(), query(count=True)).count == counted

    assert f"LIMIT {most + 1})" in asked[2]["sql"]


@pytest.mark.parametrize("descending", [True, False])
def test_what_no_index_finds_is_counted_in_a_window(rows, monkeypatch, descending: bool):
    monkeypatch.setattr(pages, "COUNT_WINDOW", 1000)

    page = page_of(Row.objects.all(), query(count=True), narrow=blue, descending=descending)

    assert page.count == Count(10, is_capped=True)


def test_a_count_that_takes_too_long_is_that_of_the_page(rows, monkeypatch):
    monkeypatch.setattr(pages, "COUNT_WITHIN_S", 0.05)

    def slow(found: models.QuerySet[Row]) -> models.QuerySet[Row]:
        return found.extra(where=["pg_sleep(0.01) IS NOT NULL"])

    page = page_of(Row.objects.all(), query(limit=2, count=True), narrow=slow)

    assert (len(page.rows), page.count) == (2, Count(2, is_capped=True))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda cursor: "x",
        lambda cursor: "x" * 10_000,
        lambda cursor: "\0",
        lambda cursor: cursor[:-1],
        lambda cursor: "b" + cursor[1:],
        lambda cursor: cursor.split("~")[0] + "~" + "A" * 43,
        lambda cursor: Signer(sep="~").sign(cursor.split("~")[0]),
    ],
)
def test_a_forged_cursor_is_refused(rows, spoil):
    cursor = page_of(Row.objects.all(), query(limit=1)).next_cursor

    with pytest.raises(CursorMalformed):
        page_of(Row.objects.all(), query(spoil(cursor)))


def test_a_cursor_is_short_and_safe_in_a_url(rows):
    Tagged.objects.bulk_create(Tagged(id=UUID(int=number)) for number in (1, 2))

    cursor = page_of(Tagged.objects.all(), query(limit=1)).next_cursor

    assert cursor is not None
    assert len(cursor) < 128
    assert cursor.replace("-", "").replace("_", "").replace("~", "").replace(".", "").isalnum()


@pytest.mark.urls("tests.config.routes")
class TestThroughTheStack:
    def test_an_answer_has_data_and_both_cursors(self, rows, client: Client):
        first = client.get("/v2/orders?color=red&limit=2", headers=KEY).json()
        second = client.get(f"/v2/orders?limit=2&color=red&cursor={first['next_cursor']}", headers=KEY).json()

        assert first["data"][0] == {"id": 14997, "color": "red", "at": "2026-11-21T00:00:00.000000Z"}
        assert [row["id"] for row in second["data"]] == [14991, 14988]
        assert first["prev_cursor"] is None
        assert second["prev_cursor"] is not None

    def test_a_count_is_answered_on_request_alone(self, rows, client: Client):
        counted = client.get("/v2/orders?color=red&limit=2&count=true", headers=KEY).json()

        assert counted["count"] == {"value": COUNT - 50, "is_capped": False}
        for more in ("", "&count=false", f"&cursor={counted['next_cursor']}"):
            assert "count" not in client.get(f"/v2/orders?color=red&limit=2{more}", headers=KEY).json()

    @pytest.mark.parametrize("count", ["yes", "True", "1", "exact"])
    def test_a_count_is_true_or_false(self, client: Client, count: str):
        answer = client.get(f"/v2/orders?count={count}", headers=KEY)

        assert (answer.status_code, answer.json()["code"]) == (400, "parameters_refused")
        assert [error["pointer"] for error in answer.json()["errors"]] == ["count"]

    @pytest.mark.parametrize("limit", ["0", "201", "-1", "1.5", "x", "%2B1", "1e1", "%D9%A1", "00001"])
    def test_a_limit_out_of_range_is_refused_and_not_clamped(self, client: Client, limit: str):
        answer = client.get(f"/v2/orders?limit={limit}", headers=KEY)

        assert (answer.status_code, answer.json()["code"]) == (400, "limit_out_of_range")
        assert answer.json()["errors"][0]["pointer"] == "limit"

    def test_the_default_is_fifty_and_the_most_two_hundred(self, rows, client: Client):
        assert len(client.get("/v2/orders", headers=KEY).json()["data"]) == 50
        assert len(client.get("/v2/orders?limit=200", headers=KEY).json()["data"]) == 200

    @pytest.mark.parametrize(
        ("path", "key"),
        [("/v2/orders?color=blue", "1"), ("/v2/orders?color=red&id__lt=9", "1"), ("/v2/orders?color=red", "2")],
    )
    def test_a_cursor_is_no_use_with_other_filters_or_to_another_client(
        self, rows, client: Client, path: str, key: str
    ):
        cursor = client.get("/v2/orders?color=red&limit=1", headers=KEY).json()["next_cursor"]

        answer = client.get(f"{path}&cursor={cursor}", headers={"Authorization": f"Bearer {key}:orders:read"})

        assert (answer.status_code, answer.json()["code"]) == (400, "cursor_mismatch")
