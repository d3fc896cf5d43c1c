"""The back office's pages of dead letters: what could not be handled, and what staff do about it."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from html import unescape
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest

from config.api.backoffice import asking
from ledger.events.models import DeadLetter
from ledger.services.dead_letters import REPLAYS_MAX, STAFF_REPLAYS_MAX
from tests.ledger.backoffice import HOSTILE, Staff, said, seen
from tests.ledger.letters import letter, record, recorded
from tests.ledger.locks import in_thread
from tests.ledger.replaying import HANDLED, handlers
from tests.ledger.test_dead_letter_replay import audited, fails, replay
from tests.people import Tenant

__all__ = ["handlers"]

LIST = "events_deadletter_changelist"
PAGE = "events_deadletter_change"


@pytest.fixture
def mender(db: None) -> Staff:
    return Staff("view_deadletter", "replay_deadletter", "discard_deadletter", "view_auditentry")


def do(staff: Staff, action: str, *rows: DeadLetter, **fields: Any) -> Any:
    return staff.act(LIST, action, [row.pk for row in rows], **({"confirmed": "yes", "reason": "mended"} | fields))


def listed(page: str) -> list[str]:
    return re.findall(r"/admin/events/deadletter/([0-9a-f-]{36})/change/", page)


def offered(page: str) -> list[str]:
    return re.findall(r'name="action" value="(\w+)"', page)


def body(page: str) -> str:
    found = re.search(r'<pre class="json body(?: dump)?">(.*?)</pre>', page, re.DOTALL)
    return "" if found is None else unescape(found[1])


def status(row: DeadLetter) -> str:
    return DeadLetter.objects.get(pk=row.pk).status


def test_a_letter_s_page_tells_the_whole_story(bank: Tenant, mender: Staff, handlers: list[Any]) -> None:
    row = recorded(bank)
    handlers.append(fails)
    replay(row, reason="a first try")
    page = mender.page(PAGE, row.pk)

    assert "account_unknown: The client has no account with this id or path." in page
    assert "LookupError: nobody at amqp://[redacted]@broker" in page
    assert "a first try" in page
    assert row.offset in page
    assert "<td>authorization</td>" in page
    assert "of-the-producer" not in page
    assert body(page) == '{\n  "amount": "1.00"\n}'
    assert "18 bytes, JSON." in page
    assert offered(page) == ["replay", "discard"]
    assert 'name="_save"' not in page


BODIES: dict[str, tuple[bytes, str, str]] = {
    "JSON as it came": (b'{"a":1.00,"a":2e400}', '{\n  "a": 1.00,\n  "a": 2e400\n}', "20 bytes, JSON."),
    "text": (HOSTILE.encode(), HOSTILE, f"{len(HOSTILE)} bytes, text."),
    "NUL": (b"a\0b\x1b", "a\u2400b\u241b", "4 bytes, text."),
    "text that is turned": ("a\u202eb".encode(), "a\ufffdb", "5 bytes, text."),
    "bytes": (b"\xff\x00A", f"00000000  {'ff 00 41':<48} ..A", "3 bytes, no text."),
    "nothing": (b"", "", "0 bytes, text."),
    "nested deep": (b"[" * 60_000, "[" * 60_000, "60000 bytes, text."),
    "mostly indented": (
        b"[" * 500 + b"0," * 9_999 + b"0" + b"]" * 500,
        "[" * 500 + "0," * 9_999 + "0" + "]" * 500,
        "20999 bytes, text.",
    ),
}


@pytest.mark.parametrize(("given", "shown", "counted"), BODIES.values(), ids=BODIES)
def test_a_body_is_shown_for_people(bank: Tenant, viewer: Staff, given: bytes, shown: str, counted: str) -> None:
    page = viewer.page(PAGE, recorded(bank, body=given).pk)
    assert body(page) == shown
    assert counted in page
    assert HOSTILE not in page


@pytest.mark.parametrize(("unit", "shown_bytes"), [(b"x", 65_536), (b"\xff", 1_024)])
def test_of_a_large_body_the_beginning_is_shown(bank: Tenant, viewer: Staff, unit: bytes, shown_bytes: int) -> None:
    page = viewer.page(PAGE, recorded(bank, body=unit * (1 << 20)).pk)
    assert f"1048576 bytes, {'text' if unit == b'x' else 'no text'}; the first {shown_bytes} are shown." in page
    assert len(page) < 120_000


def test_hostile_words_are_shown_as_words(bank: Tenant, viewer: Staff) -> None:
    row = recorded(bank, key=HOSTILE, error=HOSTILE, event_id=HOSTILE, topic=HOSTILE, headers={HOSTILE: HOSTILE})
    for page in (viewer.page(PAGE, row.pk), viewer.page(LIST, q=str(row.pk))):
        assert HOSTILE not in page
        assert "&lt;script&gt;" in page


def test_the_list_reads_no_bodies_and_the_same_for_many(bank: Tenant, viewer: Staff) -> None:
    record(*[letter(bank) for _ in range(3)])
    few = viewer.queries(LIST, client=bank.client.name)
    record(*[letter(bank) for _ in range(40)])
    many = viewer.queries(LIST, client=bank.client.name)
    assert len(few) == len(many)
    assert not [one for one in many if '"body"' in one or '"headers"' in one]


def test_letters_are_found_by_their_id_their_message_and_their_key(bank: Tenant, viewer: Staff) -> None:
    row, other = recorded(bank, key=str(uuid4())), recorded(bank)
    for term in (str(row.pk), row.event_id, row.key, f" {row.key} "):
        assert listed(viewer.page(LIST, q=term)) == [str(row.pk)]
    assert listed(viewer.page(LIST, q="nothing of the kind")) == []
    assert other.pk != row.pk


def test_filters_choose(bank: Tenant, viewer: Staff, handlers: list[Any]) -> None:
    first, second = recorded(bank, error_code="first"), recorded(bank)
    replay(second)
    for query, expected in [
        ({}, [second, first]),
        ({"status": "open"}, [first]),
        ({"status": "replayed"}, [second]),
        ({"consumer": first.consumer}, [first]),
        ({"error_code": "first"}, [first]),
        ({"error_code": "first", "status": "replayed"}, []),
        ({"day": first.created_at.date().isoformat()}, [second, first]),
        ({"day": "2020-01-01"}, []),
    ]:
        page = viewer.page(LIST, client=bank.client.name, **query)
        assert listed(page) == [str(row.pk) for row in expected], query


def test_a_message_is_handled_once_staff_have_said_why(bank: Tenant, mender: Staff, handlers: list[Any]) -> None:
    row = recorded(bank)

    asked = mender.act(LIST, "replay", [row.pk])
    unsaid = do(mender, "replay", row, reason=" ")
    assert "Each message goes again to what could not handle it" in asked.content.decode()
    assert "This field is required." in unsaid.content.decode()
    assert (status(row), HANDLED.total(), audited(row)) == ("open", 0, [])

    answer = do(mender, "replay", row)

    assert said(answer) == ["Replayed: 1."]
    assert (status(row), HANDLED[row.pk]) == ("replayed", 1)
    assert audited(row) == [("dead_letter.replayed", mender.actor, "mended", bank.client.pk)]
    page = mender.page(PAGE, row.pk)
    assert (offered(page), "mended" in page) == ([], True)


def test_what_fails_again_is_told_and_keeps_no_other_from_being_handled(
    bank: Tenant, mender: Staff, handlers: list[Any]
) -> None:
    consumer = f"inbound:{uuid4()}"
    rows = [recorded(bank, consumer=consumer, key=key) for key in ("a", "a", "b")]
    handlers.append(lambda one: fails(one) if one.pk == rows[0].pk else None)

    answer = do(mender, "replay", *rows[::-1])

    assert [one.split(": ")[1:2] for one in said(answer)[:2]] == [["replay_failed"], ["dead_letter_behind"]]
    assert said(answer)[2:] == ["Replayed: 1."]
    assert [status(row) for row in rows] == ["open", "open", "replayed"]


def test_staff_discard_with_a_reason(bank: Tenant, mender: Staff, handlers: list[Any]) -> None:
    row = recorded(bank)
    answer = do(mender, "discard", row, reason="asked twice")
    assert said(answer) == ["Discarded: 1."]
    assert (status(row), HANDLED.total()) == ("discarded", 0)
    assert audited(row) == [("dead_letter.discarded", mender.actor, "asked twice", bank.client.pk)]


def test_the_question_says_what_will_be_refused(bank: Tenant, mender: Staff, handlers: list[Any]) -> None:
    done, exhausted, unhandled, client_s_end = (
        recorded(bank),
        recorded(bank),
        recorded(bank, consumer="transport:kafka", key=""),
        recorded(bank),
    )
    replay(done)
    DeadLetter.objects.filter(pk=exhausted.pk).update(replay_count=STAFF_REPLAYS_MAX)
    DeadLetter.objects.filter(pk=client_s_end.pk).update(replay_count=REPLAYS_MAX)
    rows = [done, exhausted, unhandled, client_s_end]

    page = mender.act(LIST, "replay", [row.pk for row in rows]).content.decode()
    to_discard = mender.act(LIST, "discard", [row.pk for row in rows]).content.decode()

    assert "3 of 4 will be refused." in page
    for objection in ("it was replayed", "it was replayed 100 times", "nobody handles transport again"):
        assert f"<td>{objection}</td>" in page
    assert "1 of 4 will be refused." in to_discard
    assert [offered(mender.page(PAGE, row.pk)) for row in rows] == [[], ["discard"], ["discard"], ["replay", "discard"]]
    do(mender, "replay", *rows)
    assert [status(row) for row in rows] == ["replayed", "open", "open", "replayed"]


def test_what_has_moved_since_it_was_shown_is_asked_again(bank: Tenant, mender: Staff, handlers: list[Any]) -> None:
    row = recorded(bank)
    digest = seen(mender.act(LIST, "discard", [row.pk]))
    handlers.append(fails)
    replay(row)
    answer = do(mender, "discard", row, seen=digest)
    assert said(answer) == [asking.MOVED]
    assert status(row) == "open"


@pytest.mark.parametrize("action", ["replay", "discard"])
def test_each_action_needs_its_own_permission(bank: Tenant, viewer: Staff, handlers: list[Any], action: str) -> None:
    row = recorded(bank)
    other = {"replay": "discard", "discard": "replay"}[action]
    for staff, may in [(viewer, []), (Staff("view_deadletter", f"{other}_deadletter"), [other])]:
        assert offered(staff.page(PAGE, row.pk)) == may
        staff.post(LIST, action=action, _selected_action=[row.pk], confirmed="yes", reason="mine")
        assert (status(row), audited(row)) == ("open", [])
    assert Staff().get(PAGE, row.pk).status_code == 403
    for path in ("add/", f"{row.pk}/delete/"):
        assert Staff(superuser=True).http.get(f"/admin/events/deadletter/{path}").status_code == 403


def test_two_that_press_at_once_have_it_handled_once(bank: Tenant, mender: Staff, handlers: list[Any]) -> None:
    row = recorded(bank)
    other = Staff(superuser=True)
    digests = {staff.actor: seen(staff.act(LIST, "replay", [row.pk])) for staff in (mender, other)}
    barrier = Barrier(2)

    def press(staff: Staff) -> list[str]:
        barrier.wait()
        return said(do(staff, "replay", row, seen=digests[staff.actor]))

    with ThreadPoolExecutor(2) as pool:
        came = [one for (one,) in pool.map(lambda staff: in_thread(partial(press, staff)), (mender, other))]
    assert HANDLED[row.pk] == 1
    came.remove("Replayed: 1.")
    assert came[0] == asking.MOVED or "dead_letter_resolved" in came[0]
