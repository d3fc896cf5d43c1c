"""The log: one line for each unit of work, no secrets in any, and no failure because of it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from config.runtime.lifecycle import Step, lifecycle
from config.runtime.logging import (
    annotate,
    configure,
    get_logger,
    note_failure,
    request_id,
    set_role,
    unit_of_work,
)


def thing(request: HttpRequest, number: int) -> HttpResponse:
    annotate(client="acme", seen=request_id())
    return HttpResponse(str(number))


def broken(_request: HttpRequest) -> HttpResponse:
    raise ZeroDivisionError("Bearer canary-in-exception")


def busy(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=503)


urlpatterns = [
    path("things/<int:number>", thing, name="thing"),
    path("broken", broken, name="broken"),
    path("livez", lambda _request: HttpResponse("ok"), name="livez"),
    path("readyz", busy, name="readyz"),
]


@pytest.fixture
def lines(capfd):
    """Give the lines written so far, as objects; the process counts as a web process."""
    set_role("web")
    yield lambda: [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    set_role("command")
    configure({"level": "INFO"})


@pytest.fixture
def browser(settings) -> Client:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = ["config.api.middleware.RequestRecord"]
    return Client(raise_request_exception=False)


def test_a_request_leaves_one_line_that_says_everything(lines, browser):
    response = browser.get("/things/42?q=private", headers={"X-Request-ID": "order-0815"})

    (line,) = lines()
    duration_ms, timestamp, pid = line.pop("duration_ms"), line.pop("timestamp"), line.pop("pid")
    assert line == {
        "level": "info",
        "event": "http.request",
        "release": "dev",
        "role": "web",
        "request_id": "order-0815",
        "trace_id": "",
        "client": "acme",
        "route": "thing",
        "method": "GET",
        "status": 200,
        "seen": "order-0815",
        "db_queries": 0,
        "db_ms": 0.0,
    }
    assert duration_ms > 0
    assert timestamp.endswith("Z")
    assert pid == os.getpid()
    assert response["X-Request-ID"] == "order-0815"


@pytest.mark.parametrize(
    "inbound", ["", "short", "x" * 129, "with space 123", 'quote"quote', "new\nline-123", "naïve-id-1"]
)
def test_an_unfit_request_id_is_replaced(lines, browser, inbound):
    response = browser.get("/things/1", headers={"X-Request-ID": inbound})

    (line,) = lines()
    assert response["X-Request-ID"] == line["request_id"]
    assert len(line["request_id"]) == 32
    int(line["request_id"], 16)


def test_an_unknown_path_is_not_named_in_the_line(lines, browser):
    assert browser.get("/accounts/secret-of-alice").status_code == 404

    (line,) = lines()
    assert (line["route"], line["status"], line["level"]) == ("", 404, "info")


def test_an_unexpected_exception_stands_in_the_one_line(lines, browser):
    response = browser.get("/broken")

    (line,) = lines()
    assert (response.status_code, line["status"], line["level"]) == (500, 500, "error")
    assert (line["route"], line["exception"]) == ("broken", "ZeroDivisionError")
    assert "in broken" in line["traceback"]
    assert "canary" not in json.dumps(line)
    assert response["X-Request-ID"] == line["request_id"]


def test_probes_are_quiet_until_they_fail(lines, browser):
    browser.get("/livez")
    assert lines() == []

    browser.get("/readyz")
    assert [(line["route"], line["level"]) for line in lines()] == [("readyz", "error")]

    configure({"level": "DEBUG"})
    browser.get("/livez")
    assert [(line["route"], line["level"]) for line in lines()] == [("livez", "debug")]


def test_outside_of_a_unit_there_is_nothing_to_annotate(lines):
    annotate(client="acme")

    assert request_id() == ""
    assert lines() == []


def test_a_unit_that_raises_leaves_its_line_and_its_exception(lines):
    def work() -> None:
        with unit_of_work("command", name="import", request_id="import-0815"):
            annotate(rows=3)
            raise KeyError("x")

    with pytest.raises(KeyError):
        work()

    (line,) = lines()
    assert (line["event"], line["name"], line["rows"]) == ("command", "import", 3)
    assert (line["level"], line["exception"]) == ("error", "KeyError")
    assert line["request_id"] == "import-0815"
    assert request_id() == ""


def test_an_inner_unit_ends_before_the_outer_one_goes_on(lines):
    with unit_of_work("outer", request_id="outer-id"):
        with unit_of_work("inner", request_id="inner-id"):
            annotate(depth=2)
        get_logger().info("between")

    assert [(line["event"], line["request_id"], line.get("depth")) for line in lines()] == [
        ("inner", "inner-id", 2),
        ("between", "outer-id", None),
        ("outer", "outer-id", None),
    ]


def test_a_handled_failure_can_be_shown(lines):
    with unit_of_work("message"):
        note_failure(ValueError("odd"))
    note_failure(ValueError("alone"))

    assert [(line["event"], line["level"], line["exception"]) for line in lines()] == [
        ("message", "error", "ValueError"),
        ("exception", "error", "ValueError"),
    ]


CANARY = "canary1234"
SECRETS = [
    {"Authorization": CANARY},
    {"client_secret": CANARY},
    {"PASSWORD": [CANARY, 1]},
    {"refresh_token": CANARY},
    {"api_key": CANARY},
    {"apikey": CANARY},
    {"webhook_signature": CANARY.encode()},
    {"headers": {"Set-Cookie": CANARY, "nested": [{"X-Api-Key": 1, "token": (CANARY,)}]}},
    {"note": f"key ch_3F9KQ2ZD_{CANARY} was used"},
    {"note": f"Authorization: bearer   {CANARY}"},
    {"deep": [{"header": f"Bearer {CANARY}"}]},
    {"jwt": f"eyJhbGciOi.eyJ{CANARY}.{CANARY}"},
    {"url": f"redis://:{CANARY}@cache:6379/0"},
    {"url": f"postgresql://app:{CANARY}@db/ledger"},
]


@pytest.mark.parametrize("fields", SECRETS)
def test_secrets_are_redacted_and_the_line_stays_json(lines, fields):
    log = get_logger()
    log.info("direct", **fields)
    with unit_of_work("unit"):
        annotate(**fields)
    logging.getLogger("some.library").warning("said %s", next(iter(fields.values())) if "note" in fields else "nothing")

    text = json.dumps(lines())
    assert CANARY not in text
    assert "[redacted]" in text


def test_what_only_resembles_a_secret_is_left_alone(lines):
    get_logger().info("plain", batch_size=50, key_id="3F9KQ2ZD", note="batch_of_50", url="https://example.com/a@b")

    (line,) = lines()
    assert (line["batch_size"], line["key_id"], line["note"]) == (50, "3F9KQ2ZD", "batch_of_50")
    assert line["url"] == "https://example.com/a@b"


def test_libraries_speak_in_the_same_form(lines):
    configure({"level": "DEBUG"})
    library = logging.getLogger("some.library")
    try:
        int("x")
    except ValueError:
        library.exception("could not read %s", "it")
    library.info("misfit %d", "x")
    library.debug("payloads, maybe")

    first, second = lines()
    assert (first["event"], first["logger"], first["level"]) == ("could not read it", "some.library", "error")
    assert first["exception"] == "ValueError"
    assert second["event"] == "misfit %d"


def test_odd_values_become_text_and_the_line_is_written(lines):
    cycle: list[object] = []
    cycle.append(cycle)
    get_logger().info("odd", surrogate="\ud800", huge=2**80, cycle=cycle, what=object, two_lines="a\nb")

    (line,) = lines()
    assert (line["event"], line["surrogate"], line["huge"], line["two_lines"]) == ("odd", "\ud800", 2**80, "a\nb")
    assert "[redacted]" in line["cycle"]


CROWDED = """
import threading
import django
django.setup()
from config.runtime.logging import get_logger, set_role
set_role("web")
def write():
    for _ in range(50):
        get_logger().info("long", text="x" * 100_000)
threads = [threading.Thread(target=write) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_lines_of_many_threads_do_not_mix_in_a_pipe():
    done = subprocess.run([sys.executable, "-c", CROWDED], stdout=subprocess.PIPE, timeout=60, check=True)

    assert [len(json.loads(line)["text"]) for line in done.stdout.splitlines()] == [100_000] * 400


def test_a_batch_of_steps_is_a_line_each(lines):
    with unit_of_work("message", request_id="batch-id", trace_id="t" * 32):
        lifecycle(
            "transaction.start", [Step(receipt="RCP-1", type="transfer", amount="1.00", currency="USD", accounts=2)]
        )
        lifecycle("transaction.error", (Step(receipt=f"RCP-{n}", error="insufficient_funds") for n in (2, 3)))
        lifecycle("transaction.success", [])

    start, first, second, _ = lines()
    assert [start.pop(name) for name in ("level", "event", "role", "request_id", "trace_id")] == [
        "info",
        "transaction.start",
        "web",
        "batch-id",
        "t" * 32,
    ]
    assert {name: start[name] for name in ("receipt", "type", "amount", "currency", "accounts")} == {
        "receipt": "RCP-1",
        "type": "transfer",
        "amount": "1.00",
        "currency": "USD",
        "accounts": 2,
    }
    assert [(line["level"], line["receipt"], line["error"]) for line in (first, second)] == [
        ("warning", "RCP-2", "insufficient_funds"),
        ("warning", "RCP-3", "insufficient_funds"),
    ]
    assert "journal" not in first


def test_a_step_that_came_with_another_request_names_that_one_and_once(lines, capfd):
    with unit_of_work("message", request_id="batch-id"):
        lifecycle("transaction.start", [Step(receipt="RCP-1", request_id="order-0815"), Step(receipt="RCP-2")])
        written = capfd.readouterr().out.splitlines()

    assert [(line["receipt"], line["request_id"]) for line in map(json.loads, written)] == [
        ("RCP-1", "order-0815"),
        ("RCP-2", "batch-id"),
    ]
    assert [line.count('"request_id"') for line in written] == [1, 1]


def test_steps_that_are_not_shown_are_not_even_made(lines):
    configure({"level": "ERROR"})
    made: list[str] = []

    def step(receipt: str) -> Step:
        made.append(receipt)
        return Step(receipt=receipt)

    lifecycle("transaction.success", (step(receipt) for receipt in ("RCP-1", "RCP-2")))
    lifecycle("queue.full", [Step(receipt="RCP-9")])

    assert made == []
    assert [(line["event"], line["level"], line["receipt"]) for line in lines()] == [
        ("queue.full", "critical", "RCP-9")
    ]


def test_a_command_keeps_its_standard_output_for_its_answer(capfd):
    get_logger().info("progress")

    written = capfd.readouterr()
    assert written.out == ""
    assert json.loads(written.err)["role"] == "command"


INTERRUPTED = """
import signal, time
import django
django.setup()
from config.runtime.logging import get_logger, set_role
set_role("web")
log = get_logger()
signal.signal(signal.SIGALRM, lambda *_: log.info("from the handler"))
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
deadline = time.monotonic() + 1
while time.monotonic() < deadline:
    log.info("from the loop")
signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_a_signals_handler_may_write_lines_too():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, timeout=20, check=True)

    events = {json.loads(line)["event"] for line in done.stdout.splitlines()}
    assert events == {"from the handler", "from the loop"}


DEAF = """
import django, sys
django.setup()
from config.runtime.logging import get_logger, set_role, unit_of_work
from config.runtime.metrics import LOG_LINES_DROPPED
set_role("web")
with unit_of_work("work"):
    get_logger().info("into the void")
print(LOG_LINES_DROPPED._value.get(), file=sys.stderr)
"""


def test_work_goes_on_when_nobody_takes_the_lines():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", DEAF], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)

    assert (done.returncode, done.stderr) == (0, "2.0\n")
