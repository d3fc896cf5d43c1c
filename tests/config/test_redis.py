"""Redis up, killed, frozen and back: what a caller sees, and what an outage costs."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django_redis.cache import RedisCache  # type: ignore[import-untyped]  # it ships no types
from prometheus_client import REGISTRY

from config.runtime.breaker import BreakerState
from config.runtime.errors import Kind
from config.runtime.redis import CONNECTIONS_MAX, OPEN_S, TIMEOUT_S, GuardedRedis, RedisAway, redis_client
from tests.valkey import Server, connected, until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[GuardedRedis]:
    with connected(server) as client:
        yield client


@pytest.fixture
def cache(server: Server, client: GuardedRedis) -> RedisCache:
    return RedisCache(server.url, {"OPTIONS": {"CLIENT_CLASS": "config.runtime.redis.GuardedClient"}})


def state_of(client: GuardedRedis) -> BreakerState:
    return client._breaker.state


def rejections(client: GuardedRedis) -> float:
    return REGISTRY.get_sample_value("breaker_rejections_total", {"name": client._breaker.name}) or 0.0


@contextmanager
def reaching_the_server(client: GuardedRedis, *, calls: int, of: int) -> Iterator[None]:
    """Assert that `calls` of the block's `of` calls go past the breaker, and one more for each period it takes."""
    before, began = rejections(client), time.monotonic()
    yield
    reached = of - (rejections(client) - before)
    assert calls <= reached <= calls + (time.monotonic() - began) // OPEN_S


def ride_out(client: GuardedRedis, call: Callable[[], Any], *, times: int, reached: int = 1) -> None:
    """Make `times` calls in an outage."""
    with reaching_the_server(client, calls=reached, of=times):
        for _ in range(times):
            with pytest.raises(RedisAway):
                call()


def answers(client: GuardedRedis) -> bool:
    try:
        return bool(client.ping())
    except RedisAway:
        return False


def test_all_callers_of_one_url_share_client_connections_and_breaker(server, client):
    with ThreadPoolExecutor(16) as pool:
        clients = set(pool.map(redis_client, [server.url] * 64))

    assert clients == {client}


def test_commands_pipelines_transactions_and_scripts_pass(client):
    script = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    client.set("key", b"value")
    assert client.get("key") == b"value"

    with client.pipeline() as pipeline:
        pipeline.incr("n").incr("n")
        script(["n"], [40], client=pipeline)
        assert pipeline.execute() == [1, 2, 42]
    assert client.transaction(lambda pipe: pipe.multi() or pipe.incr("n"), "n") == [43]
    assert script(["n"], [1]) == 44


def test_the_servers_own_errors_are_the_callers_and_open_nothing(client):
    client.set("text", "words")

    for _ in range(10):
        with pytest.raises(Exception, match="not an integer"):
            client.incr("text")

    assert state_of(client) is BreakerState.CLOSED


@pytest.mark.parametrize("stop", [Server.kill, Server.freeze])
@pytest.mark.parametrize("warm", [True, False], ids=["with idle connections", "with none"])
def test_an_outage_costs_one_timeout_however_many_calls_come(server, client, stop, warm):
    if warm:
        assert client.ping()
    stop(server)

    ride_out(client, client.ping, times=500)

    assert state_of(client) is BreakerState.OPEN
    with pytest.raises(RedisAway) as away:
        client.get("key")
    assert (away.value.kind, away.value.code, away.value.retry_after_s) == (Kind.BUSY, "dependency_unavailable", 1)


def test_a_call_that_fails_was_sent_once(server, client):
    before = client.info("stats")["total_connections_received"]
    server.freeze()
    ride_out(client, client.ping, times=1)
    server.thaw()
    until(lambda: answers(client))

    # The frozen call broke the one connection there was; a hidden retry would have made another.
    assert client.info("stats")["total_connections_received"] == before + 1


def test_each_further_period_of_a_freeze_costs_one_timeout_of_one_thread(server, client):
    assert client.ping()
    server.freeze()
    ride_out(client, client.ping, times=1)
    time.sleep(OPEN_S)

    with reaching_the_server(client, calls=1, of=400), ThreadPoolExecutor(16) as pool:
        assert not any(pool.map(lambda _: answers(client), range(400)))


def test_threads_that_are_inside_when_the_server_freezes_wait_once_each_and_together(server, client):
    threads = 16
    together = threading.Barrier(threads + 1)

    def call() -> float:
        assert client.ping()
        together.wait(10)
        together.wait(10)
        began = time.monotonic()
        assert not answers(client)
        return time.monotonic() - began

    with ThreadPoolExecutor(threads) as pool:
        waits = [pool.submit(call) for _ in range(threads)]
        together.wait(10)
        server.freeze()
        together.wait(10)

    assert max(wait.result() for wait in waits) < TIMEOUT_S * threads / 2


def test_pipelines_and_scripts_share_the_breaker_and_can_be_its_probe(server, client):
    script = client.register_script("return 7")
    assert client.ping()
    server.freeze()

    def run() -> Any:
        with client.pipeline() as pipeline:
            script(client=pipeline)
            return pipeline.execute()

    def watch() -> None:
        with client.pipeline() as pipeline:
            pipeline.watch("key")

    with reaching_the_server(client, calls=1, of=150):
        for call in (run, watch, client.ping) * 50:
            with pytest.raises(RedisAway):
                call()
    server.thaw()
    time.sleep(OPEN_S)
    assert run() == [7]
    assert state_of(client) is BreakerState.CLOSED


def test_after_a_freeze_it_is_back_within_a_period_with_the_answers_in_their_places(server, client):
    client.mset({f"key{number}": number for number in range(20)})
    server.freeze()
    ride_out(client, lambda: client.set("lost", 1), times=20)
    server.thaw()

    until(lambda: answers(client))

    assert [client.get(f"key{number}") for number in range(20)] == [b"%d" % number for number in range(20)]


def test_after_a_restart_it_is_back_within_a_period_though_every_pooled_connection_is_dead(server, client):
    pooled = [client.connection_pool.get_connection() for _ in range(16)]
    for connection in pooled:
        client.connection_pool.release(connection)
    server.kill()
    ride_out(client, client.ping, times=1)
    server.start()
    time.sleep(OPEN_S)

    assert client.ping()

    together = threading.Barrier(16)
    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(lambda _: together.wait(10) >= 0 and client.ping(), range(64)))
    assert state_of(client) is BreakerState.CLOSED


def test_a_full_memory_is_an_outage_for_the_writer_only(server, client):
    client.set("key", "value")
    client.config_set("maxmemory", "1")

    with pytest.raises(RedisAway):
        client.set("other", "value")

    assert client.get("key") == b"value"
    assert state_of(client) is BreakerState.CLOSED


def test_running_out_of_connections_is_no_outage_of_the_server(client):
    pool = client.connection_pool
    taken = [pool.get_connection() for _ in range(CONNECTIONS_MAX)]

    with pytest.raises(RedisAway):
        client.ping()

    assert state_of(client) is BreakerState.CLOSED
    pool.release(taken[0])
    assert client.ping()
    for connection in taken[1:]:
        pool.release(connection)


def test_the_cache_keeps_and_finds(cache):
    assert cache.add("a", {"n": 1}, timeout=60) is True
    assert cache.add("a", {"n": 2}, timeout=60) is False
    assert cache.get("a") == {"n": 1}
    assert cache.set_many({"b": 2, "c": 3}) == []
    assert cache.get_many(["a", "b", "z"]) == {"a": {"n": 1}, "b": 2}
    assert cache.incr("b", 40) == 42
    assert cache.decr("b") == 41
    assert cache.touch("b", 60) is True
    assert 0 < cache.ttl("b") <= 60
    assert cache.has_key("b") is True
    assert cache.delete("b") is True
    assert cache.delete_many(["a", "c"]) == 2
    cache.set("d", 4)
    cache.clear()
    assert cache.get("d", "nothing") == "nothing"
    with pytest.raises(ValueError, match="not found"):
        cache.incr("d")


@pytest.mark.parametrize("stop", [Server.kill, Server.freeze])
def test_while_redis_is_away_the_cache_finds_nothing_keeps_nothing_and_waits_once(server, cache, stop):
    cache.set("a", 1)
    stop(server)
    began = time.monotonic()

    for _ in range(20):
        assert cache.get("a") is None
        assert cache.get("a", "default") == "default"
        assert cache.get_many(["a", "b"]) == {}
        assert cache.get_or_set("a", 5) == 5
        assert cache.has_key("a") is False
        assert cache.ttl("a") == 0
        assert cache.set("a", 2) is False
        assert cache.add("a", 2) is False
        assert cache.add("a", 2, timeout=0) is False
        assert cache.touch("a") is False
        assert cache.set_many({"a": 1, "b": 2}) == ["a", "b"]
        assert cache.delete("a") is False
        assert cache.delete_many(["a"]) == 0
        assert cache.delete_pattern("*") == 0
        assert cache.clear() is None
        for method in (cache.incr, cache.decr, cache.incr_version):
            with pytest.raises(ValueError, match="not found"):
                method("a")

    assert time.monotonic() - began < 20 * TIMEOUT_S  # of some 300 calls


def test_what_has_no_honest_answer_in_an_outage_says_so(server, cache):
    server.kill()

    for call in (lambda: cache.keys("*"), lambda: list(cache.iter_keys("*")), lambda: cache.sadd("set", 1)):
        with pytest.raises(RedisAway):
            call()
    with pytest.raises(RedisAway), cache.lock("lock", timeout=1):
        pass


def test_the_cache_and_the_plain_client_share_one_breaker(server, cache, client):
    assert cache.get("a") is None
    server.freeze()
    cache.get("a")

    ride_out(client, client.ping, times=50, reached=0)
