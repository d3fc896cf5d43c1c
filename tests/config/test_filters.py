from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.http import QueryDict
from django.test import Client

from config.api.filters import ParametersRefused
from tests.config.routes import RowFilters


def read(text: str) -> RowFilters:
    return RowFilters.read(QueryDict(text))


def refused(text: str) -> list[tuple[str, str]]:
    with pytest.raises(ParametersRefused) as found:
        read(text)
    return [(error.pointer, error.code) for error in found.value.errors]


@pytest.mark.parametrize(
    ("text", "name", "code"),
    [
        ("colour=red", "colour", "parameter_unknown"),
        ("color__gte=red", "color__gte", "parameter_unknown"),
        ("format=json", "format", "parameter_unknown"),
        ("Color=red", "Color", "parameter_unknown"),
        ("color=", "color", "parameter_empty"),
        ("color", "color", "parameter_empty"),
        ("limit=", "limit", "parameter_empty"),
        ("color=red&color=red", "color", "parameter_repeated"),
        ("limit=1&limit=2", "limit", "parameter_repeated"),
        ("color=%00", "color", "parameter_invalid"),
        ("color=%FF", "color", "parameter_invalid"),
        ("color=%20", "color", "parameter_invalid"),
        ("color__in=red,green", "color__in", "parameter_invalid"),
        ("color__in=red,", "color__in", "parameter_invalid"),
        ("color__in=" + ",".join(["red"] * 101), "color__in", "parameter_invalid"),
        ("odd=maybe", "odd", "parameter_invalid"),
        ("id__lt=x", "id__lt", "parameter_invalid"),
        ("id__lt=NaN", "id__lt", "parameter_invalid"),
        ("at__gte=2026-11-21", "at__gte", "parameter_invalid"),
        ("at__gte=2026-11-21T00:00:00", "at__gte", "parameter_invalid"),
        ("at__gte=2026-11-21 00:00:00Z", "at__gte", "parameter_invalid"),
        ("at__gte=2026-02-30T00:00:00Z", "at__gte", "parameter_invalid"),
        ("at__gte=0001-01-01T00:00:00%2B14:00", "at__gte", "parameter_invalid"),
        ("at__gte=1790000000", "at__gte", "parameter_invalid"),
    ],
)
def test_a_parameter_that_would_be_ignored_or_guessed_is_refused_by_name(text: str, name: str, code: str):
    assert refused(text) == [(name, code)]


def test_every_wrong_parameter_is_named_at_once():
    assert refused("a=1&color=&b=2") == [
        ("a", "parameter_unknown"),
        ("color", "parameter_empty"),
        ("b", "parameter_unknown"),
    ]
    assert refused("at__gte=x&color__in=y") == [("color__in", "parameter_invalid"), ("at__gte", "parameter_invalid")]


def test_a_plus_that_became_a_space_is_explained():
    with pytest.raises(ParametersRefused) as found:
        read("at__gte=2026-11-21T00:00:00+02:00")

    assert "%2B" in found.value.errors[0].detail


@pytest.mark.parametrize(
    "text", ["2026-11-21T02:00:00%2B02:00", "2026-11-21T00:00:00Z", "2026-11-20T19:00:00.000000-05:00"]
)
def test_a_time_with_offset_is_read_as_the_same_moment(text: str):
    assert read(f"at__gte={text}").form.cleaned_data["at__gte"] == datetime(2026, 11, 21, tzinfo=UTC)


def test_a_hundred_choices_are_taken():
    assert len(read("color__in=" + ",".join(["red", "blue"] * 50)).form.cleaned_data["color__in"]) == 100


def test_narrowing_applies_every_filter_given_and_no_other():
    from tests.config.routes import Row

    sql = str(read("color__in=red,blue&at__gte=2026-11-21T00:00:00Z").narrow(Row.objects.all()).query)

    assert sql.endswith(
        'WHERE ("config_test_row"."color" IN (red, blue) AND "config_test_row"."at" >= 2026-11-21 00:00:00+00:00)'
    )


def test_the_canonical_text_ignores_order_and_paging():
    one = read("color=red&limit=5&at__gte=2026-11-21T00:00:00Z").canonical
    other = read("at__gte=2026-11-21T00:00:00Z&color=red&cursor=x").canonical

    assert one == other == "at__gte=2026-11-21T00%3A00%3A00Z&color=red"
    assert read("color=blue").canonical != read("color=red").canonical


@pytest.mark.urls("tests.config.routes")
def test_a_refused_parameter_is_a_400_that_names_it(client: Client):
    answer = client.get("/v2/orders?colour=red", headers={"Authorization": "Bearer 1:orders:read"})

    assert (answer.status_code, answer.json()["code"]) == (400, "parameters_refused")
    assert answer.json()["errors"] == [
        {"pointer": "colour", "code": "parameter_unknown", "detail": "The operation has no such parameter."}
    ]
