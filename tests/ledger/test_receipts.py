"""A receipt code holds its transaction's id without loss, and a mistyped one is no receipt code."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.runtime.ids import CROCKFORD, uuid7
from ledger.domain.receipts import receipt_code, transaction_id_of

YEAR_9999_MS = 253_402_300_799_999


def uuid7_of(ms: int, high: int, low: int) -> UUID:
    return UUID(int=ms << 80 | 7 << 76 | high << 64 | 2 << 62 | low)


IDS = st.builds(uuid7_of, st.integers(0, YEAR_9999_MS), st.integers(0, (1 << 12) - 1), st.integers(0, (1 << 62) - 1))
PINNED = [
    uuid7_of(1_795_243_440_123, 0x5A5, 0x0123456789ABCDEF),
    uuid7_of(1_582_934_400_000, 0, 0),
    uuid7_of(1_767_225_599_999, (1 << 12) - 1, (1 << 62) - 1),
    uuid7_of(0, 0, 1),
]


@given(IDS)
def test_the_id_is_read_back_from_its_receipt_code(identifier: UUID) -> None:
    assert transaction_id_of(receipt_code(identifier)) == identifier


@given(IDS)
def test_a_receipt_code_is_read_in_lower_case_and_with_lookalikes(identifier: UUID) -> None:
    code = receipt_code(identifier)
    head, tail = code[:13], code[13:]
    for typed in (code.lower(), head + tail.replace("0", "O"), head + tail.replace("1", "I"), f" {code}\n"):
        assert transaction_id_of(typed) == identifier
    assert transaction_id_of((head + tail.replace("1", "L").replace("0", "o")).lower()) == identifier


@given(IDS, st.data())
def test_one_wrong_character_is_refused(identifier: UUID, data: st.DataObject) -> None:
    code = receipt_code(identifier)
    place = data.draw(st.integers(4, len(code) - 1).filter(lambda at: code[at] != "-"))
    wrong = data.draw(st.sampled_from(CROCKFORD).filter(lambda character: character != code[place]))
    assert transaction_id_of(code[:place] + wrong + code[place + 1 :]) is None


@pytest.mark.parametrize("identifier", PINNED, ids=str)
def test_every_wrong_character_is_refused(identifier: UUID) -> None:
    code = receipt_code(identifier)
    mistyped = {
        code[:place] + wrong + code[place + 1 :]
        for place in range(len(code))
        for wrong in f"{CROCKFORD}U-_ "
        if wrong != code[place]
    }
    read = {typed for typed in mistyped if transaction_id_of(typed) is not None}
    assert read == set()


@pytest.mark.parametrize("identifier", PINNED, ids=str)
def test_every_swap_of_two_neighbours_is_refused(identifier: UUID) -> None:
    code = receipt_code(identifier)
    swapped = {code[:at] + code[at + 1] + code[at] + code[at + 2 :] for at in range(len(code) - 1)} - {code}
    assert {typed for typed in swapped if transaction_id_of(typed) is not None} == set()


@given(IDS, st.data())
def test_a_missing_or_doubled_character_is_refused(identifier: UUID, data: st.DataObject) -> None:
    code = receipt_code(identifier)
    place = data.draw(st.integers(0, len(code) - 1))
    assert transaction_id_of(code[:place] + code[place + 1 :]) is None
    assert transaction_id_of(code[:place] + code[place] + code[place:]) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "RCP-20261121-",
        "RCP-20261331-0ECGYS6XK1J9JC6DR23KP3",
        "RCP-19691231-0ECGYS6XK1J9JC6DR23KP3",
        "RCP-00000000-0000000000000000000000",
        "RCP-20261121-ZZZZZZZZZZZZZZZZZZZZZZ",
        "RCP-\u0662\u0660261121-0ECGYS6XK1J9JC6DR23KP3",
        str(uuid7_of(1_795_243_440_123, 0x5A5, 0x0123456789ABCDEF)),
    ],
)
def test_what_is_no_receipt_code_is_none(text: str) -> None:
    assert transaction_id_of(text) is None


def test_letters_that_only_become_ascii_in_capitals_are_refused() -> None:
    identifier = next(one for one in iter(uuid7, None) if "S" in receipt_code(one)[13:])
    code = receipt_code(identifier)
    assert transaction_id_of(code[:13] + code[13:].replace("S", "\u017f")) is None


def test_a_day_starts_at_midnight_utc() -> None:
    assert receipt_code(uuid7_of(1_767_225_599_999, 0, 0))[:13] == "RCP-20251231-"
    assert receipt_code(uuid7_of(1_767_225_600_000, 0, 0))[:13] == "RCP-20260101-"
