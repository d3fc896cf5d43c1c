"""Metrics of many processes: counters outlive them, what was only true while they lived does not."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from config.runtime import metrics

WORKER = """
import sys
from config.runtime.metrics import BREAKER_REJECTIONS, BREAKER_STATE, DB_POOL_SIZE
BREAKER_REJECTIONS.labels("cache").inc()
BREAKER_STATE.labels("cache").set(2)
DB_POOL_SIZE.set(5)
print("ready", flush=True)
sys.stdin.read()
"""

SHOW = "import sys; from config.runtime.metrics import exposition; sys.stdout.buffer.write(exposition())"

FORKING = """
import os, sys
from config.runtime.metrics import BREAKER_REJECTIONS, DIRECTORY
BREAKER_REJECTIONS.labels("parent").inc()
if os.fork() == 0:
    if "idle" not in sys.argv:
        BREAKER_REJECTIONS.labels("child").inc()
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)
os.waitpid(-1, 0)
"""


def environment(directory: Path) -> dict[str, str]:
    return os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(directory)}


def start(script: str, directory: Path, *arguments: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env=environment(directory),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def kill(*processes: subprocess.Popen[bytes]) -> None:
    for process in processes:
        process.kill()
        process.communicate()


def shown(directory: Path) -> dict[tuple[str, ...], float]:
    text = subprocess.run(
        [sys.executable, "-c", SHOW], env=environment(directory), capture_output=True, check=True
    ).stdout
    return samples(text)


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_counters_outlive_killed_processes_and_live_gauges_do_not(tmp_path):
    for generation in range(1, 4):
        workers = [start(WORKER, tmp_path / "worker") for _ in range(2)]
        alive = shown(tmp_path / "command")
        kill(*workers)
        assert alive["breaker_rejections_total", "cache"] == 2 * generation
        assert alive["breaker_state", "cache"] == 2
        assert alive["db_pool_size",] == 10

    dead = shown(tmp_path / "command")
    assert dead["breaker_rejections_total", "cache"] == 6
    assert ("breaker_state", "cache") not in dead
    assert dead["db_pool_size",] == 0
    assert {file.name for file in (tmp_path / "worker").glob("slot-*.lock")} == {"slot-0.lock", "slot-1.lock"}


def test_a_scrape_leaves_the_gauges_of_the_living_alone(tmp_path):
    first, second = (start(WORKER, tmp_path / "worker") for _ in range(2))
    kill(first)
    try:
        assert shown(tmp_path / "command")["db_pool_size",] == 5
        assert shown(tmp_path / "web")["db_pool_size",] == 5
    finally:
        kill(second)


@pytest.mark.parametrize("arguments", [[], ["idle"]])
def test_a_fork_takes_a_slot_of_its_own_and_frees_its_parents(tmp_path, arguments):
    parent = start(FORKING, tmp_path / "web", *arguments)
    parent.kill()
    parent.wait()
    # The child lives on; the dead parent's slot is the next one's.
    other = start(WORKER, tmp_path / "web")
    try:
        after = shown(tmp_path / "command")
        slots = len(list((tmp_path / "web").glob("slot-*.lock")))
    finally:
        kill(other, parent)

    assert after["breaker_rejections_total", "parent"] == 1
    assert after.get(("breaker_rejections_total", "child")) == (None if arguments else 1)
    assert slots == (1 if arguments else 2)


def test_only_the_directories_of_roles_are_merged(tmp_path):
    for name in ("web", "strangers"):
        kill(start(WORKER, tmp_path / name))

    assert shown(tmp_path / "schedule")["breaker_rejections_total", "cache"] == 1
    assert shown(tmp_path / "strangers")["breaker_rejections_total", "cache"] == 1


def test_the_names_of_spec_001_are_there():
    names = {metric.name for metric in REGISTRY.collect()}

    assert names >= {
        "transactions",  # a counter: shown as transactions_total
        "transactions_duration_seconds",
        "transactions_failed",
        "transactions_queue_size",
        "worker_pool_utilization",
        "worker_processing_duration",
        "receipt_batch_size",
        "receipt_batch_latency",
    }
    assert re.search(rb"\ntransactions_queue_size [0-9.]+\n", metrics.exposition())


def hello(_request: HttpRequest, name: str = "") -> HttpResponse:
    return HttpResponse(name, status=200 if name != "broken" else 1 // 0)


urlpatterns = [path("hello/<str:name>", hello, name="hello")]


@pytest.fixture
def browser(settings) -> Client:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = ["config.api.metrics.Measured"]
    return Client(raise_request_exception=False)


def http() -> dict[tuple[str, ...], float]:
    return {key: value for key, value in samples(metrics.exposition()).items() if key[0].startswith("django_http")}


RESPONSES = "django_http_responses_total_by_status_view_method_total"
LATENCY = "django_http_requests_latency_seconds_by_view_method_count"


def test_requests_are_counted_and_timed_by_view_and_method(browser):
    before = http()
    browser.get("/hello/alice")
    browser.get("/hello/bob")
    browser.get("/hello/broken")
    after = http()

    def grown(*key: str) -> float:
        return after[key] - before.get(key, 0)

    assert grown(RESPONSES, "GET", "200", "hello") == 2
    assert grown(RESPONSES, "GET", "500", "hello") == 1
    assert grown(LATENCY, "GET", "hello") == 3
    assert after["django_http_requests_in_progress",] == 0


def test_hostile_requests_do_not_multiply_the_series(browser):
    browser.get("/hello/x")
    browser.get("/nowhere/0")
    browser.generic("BREW0", "/hello/x")
    before = set(http())
    for number in range(20):
        browser.get(f"/hello/{number}?{number}={number}")
        browser.get(f"/nowhere/{number}")
        browser.generic(f"BREW{number}", "/hello/x")

    assert set(http()) == before


def test_the_exporter_serves_all_processes_and_stops_when_told(tmp_path):
    worker = start(WORKER, tmp_path / "worker")
    exporter = subprocess.Popen(
        [sys.executable, "-m", "django", "metrics_exporter", "--port", "0"],
        env=environment(tmp_path / "command"),
        stdout=subprocess.PIPE,
    )
    try:
        assert exporter.stdout is not None
        url = exporter.stdout.readline().decode().removeprefix("metrics: ").strip()
        with urllib.request.urlopen(url, timeout=10) as answer:
            text, content_type = answer.read(), answer.headers["Content-Type"]
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url.replace("/metrics", "/"), timeout=10)
        refused.value.close()
        exporter.send_signal(signal.SIGTERM)
        assert exporter.wait(timeout=5) == 0
    finally:
        kill(worker, exporter)

    assert samples(text)["breaker_rejections_total", "cache"] == 1
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert refused.value.code == 404


@pytest.mark.skipif(metrics.DIRECTORY is not None, reason="this process shares its metrics")
def test_an_exporter_with_nothing_to_show_refuses_to_start():
    with pytest.raises(CommandError, match="PROMETHEUS_MULTIPROC_DIR"):
        call_command("metrics_exporter", port=0)
