"""The cache of answers: nothing older than what was bumped, one who fills; Redis killed, frozen, emptied and back."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from prometheus_client import REGISTRY
from redis import Redis
from redis.crc import key_slot

from config.localstack.ports import free_port
from config.runtime.cache import cache as cache_module
from config.runtime.cache.cache import SIZE_MAX, UNSURE_S, Found, VersionedCache
from config.runtime.cache.store import BUMPED_AT_ONCE, FOLLOWED, FOLLOWED_MS, Fill, Hit, Store, Version, fresh
from config.runtime.redis import GuardedPipeline, GuardedRedis, RedisAway, redis_client
from tests.valkey import Server, connected, until

TTL_S = 300


@pytest.fixture
def redis() -> GuardedRedis:
    return redis_client(settings.REDIS_URL)


@pytest.fixture
def alice() -> Version:
    """A version of an owner of this test's own."""
    return Version(uuid4().int, "user:alice")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path) as running:
        yield running


def process(client: Redis, **more: Any) -> VersionedCache:
    return VersionedCache(client, ttl_s=TTL_S, **more)


@pytest.fixture
def cache(redis: GuardedRedis) -> VersionedCache:
    return process(redis)


@pytest.fixture
def other(redis: GuardedRedis) -> VersionedCache:
    """Another process."""
    return process(redis)


@pytest.fixture
def silent(redis: GuardedRedis, monkeypatch: pytest.MonkeyPatch) -> VersionedCache:
    """A process that makes up for nothing by itself."""
    cache = process(redis)
    monkeypatch.setattr(cache, "_soon", lambda: None)
    return cache


class Row:
    """What is cached, as the database has it; it counts how often it is read."""

    def __init__(self, value: bytes = b"old") -> None:
        self.value, self.reads = value, 0

    def read(self) -> bytes:
        self.reads += 1
        return self.value


def shown(cache: VersionedCache, version: Version, make: Callable[[], bytes], name: str = "page") -> bytes:
    return cache.read("test", version, name, make).value


def write(cache: VersionedCache, version: Version, row: Row, value: bytes = b"new") -> None:
    row.value = value
    bump(cache, version, fresh())


def bump(cache: VersionedCache, version: Version, stamp: str) -> None:
    cache.bump({version.owner: {version.name: stamp}})


def bump_again(cache: VersionedCache, version: Version, stamp: str) -> None:
    cache.bump_again({version.owner: {version.name: stamp}})


def reads(outcome: str) -> float:
    return REGISTRY.get_sample_value("cache_reads_total", {"cache": "test", "outcome": outcome}) or 0.0


def grow_old(redis: Redis, version: Version, seconds: int, name: str = "page") -> None:
    """Have a value that is kept be so much older."""
    assert redis.hincrby(f"cache:{{{version.owner}}}:value:{name}", "at", -1000 * seconds)


def test_what_was_made_is_shown_again_by_every_process(cache, other, alice):
    row = Row()

    found = [one.read("test", alice, "page", row.read) for one in (cache, cache, other)]

    assert [one.value for one in found] == [b"old"] * 3
    assert found[0] == Found(b"old", None)
    assert all(one.age_s is not None and 0 <= one.age_s < 60 for one in found[1:])
    assert row.reads == 1


def test_a_write_is_shown_by_every_process_from_its_bump_on(cache, other, alice):
    row = Row()
    shown(other, alice, row.read)

    write(cache, alice, row)

    assert (shown(other, alice, row.read), shown(cache, alice, row.read)) == (b"new", b"new")
    assert row.reads == 2


def test_a_bump_leaves_what_stands_under_other_versions(cache, alice):
    hers, his = Row(), Row()
    bob = alice._replace(name="user:bob")
    shown(cache, bob, his.read)

    write(cache, alice, hers)

    assert shown(cache, bob, his.read) == b"old"
    assert his.reads == 1


def test_other_names_and_other_owners_are_other_values(cache, alice):
    shown(cache, alice, Row(b"one").read)

    assert shown(cache, alice, Row(b"two").read, name="other") == b"two"
    assert shown(cache, alice._replace(owner=alice.owner + 1), Row(b"three").read) == b"three"


def test_what_was_read_before_a_write_is_not_kept_for_after_it(cache, other, alice):
    row = Row()

    def read_while_somebody_writes() -> bytes:
        found = row.read()
        write(other, alice, row)
        return found

    assert shown(cache, alice, read_while_somebody_writes) == b"old"
    assert shown(cache, alice, row.read) == b"new"


@pytest.mark.parametrize("lose", ["version", "value", "all"])
def test_what_is_evicted_brings_nothing_back(redis, cache, alice, lose):
    row = Row()
    shown(cache, alice, row.read)
    names = {"version": [alice.key], "value": [f"cache:{{{alice.owner}}}:value:page"]}
    redis.delete(*names.get(lose, names["version"] + names["value"]))

    write(cache, alice, row)

    assert shown(cache, alice, row.read) == b"new"


def test_what_is_kept_late_under_an_old_version_is_never_shown(redis, alice):
    store = Store(redis, ttl_s=TTL_S)
    late = store.look(alice, "page", age_s_max=TTL_S)
    assert isinstance(late, Fill)
    store.bump({alice.owner: {alice.name: fresh()}})

    store.keep(alice, "page", late, b"old")

    assert isinstance(store.look(alice, "page", age_s_max=TTL_S), Fill)


def test_writes_make_no_version_where_nobody_reads(redis, cache, alice):
    bump(cache, alice, "stamp")

    assert not redis.exists(alice.key)


def test_what_nothing_makes_up_for_is_shown_for_five_seconds_alone(server, alice):
    with connected(server) as client:
        row, cache = Row(), process(client)
        shown(cache, alice, row.read)

        grow_old(client, alice, UNSURE_S)

        assert shown(cache, alice, row.read) == b"old"
        assert row.reads == 2


def test_what_is_followed_is_shown_for_all_its_time_and_not_longer(server, alice):
    with connected(server) as client:
        row, cache = Row(), process(client)
        cache.show_followed()
        shown(cache, alice, row.read)

        grow_old(client, alice, TTL_S - 30)
        shown(cache, alice, row.read)
        assert row.reads == 1

        grow_old(client, alice, 30)
        shown(cache, alice, row.read)
        assert row.reads == 2


def test_who_says_that_it_is_followed_is_believed_for_three_seconds(server):
    with connected(server) as client:
        process(client).show_followed()

        assert 0 < client.pttl(FOLLOWED) <= FOLLOWED_MS


def test_a_servers_clock_that_is_set_back_makes_nothing_younger(redis, cache, alice):
    row = Row()
    shown(cache, alice, row.read)

    grow_old(redis, alice, -60)

    shown(cache, alice, row.read)
    assert row.reads == 2


def test_of_many_who_look_at_once_one_makes_it_and_all_have_it(redis, alice, monkeypatch):
    monkeypatch.setattr(cache_module, "PATIENCE_S", 10)
    row, in_vain, everybody_waits = Row(), list[int](), threading.Event()
    look = Store.look

    def counted(self: Store, *args: Any, **more: Any) -> Hit | Fill | None:
        found = look(self, *args, **more)
        if found is None:
            in_vain.append(threading.get_ident())
            if len(set(in_vain)) == 15:
                everybody_waits.set()
        return found

    def make() -> bytes:
        assert everybody_waits.wait(10)
        return row.read()

    monkeypatch.setattr(Store, "look", counted)
    processes = [process(redis), process(redis)]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda number: shown(processes[number % 2], alice, make), range(16)))

    assert found == [b"old"] * 16
    assert row.reads == 1


def test_nobody_waits_for_long_for_who_fills(redis, cache, alice, monkeypatch):
    monkeypatch.setattr(cache_module, "PATIENCE_S", 0.02)
    assert isinstance(Store(redis, ttl_s=TTL_S).look(alice, "page", age_s_max=TTL_S), Fill)  # and it dies of it
    before = reads("past")

    assert shown(cache, alice, Row().read) == b"old"

    assert reads("past") == before + 1


def test_who_waited_for_what_was_written_meanwhile_fills_anew(redis, cache, alice):
    """The waiting one came after the write; the filling one had read before it."""
    store, row = Store(redis, ttl_s=TTL_S), Row()
    filling = store.look(alice, "page", age_s_max=TTL_S)
    assert isinstance(filling, Fill)
    write(cache, alice, row)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(shown, cache, alice, row.read)
        store.keep(alice, "page", filling, b"old")

        assert waiting.result() == b"new"


def test_what_cannot_be_made_is_the_callers_error_and_the_next_one_makes_it(cache, alice):
    def broken() -> bytes:
        raise ValueError("Not now.")

    with pytest.raises(ValueError, match="Not now"):
        shown(cache, alice, broken)

    before = reads("miss")
    assert shown(cache, alice, Row().read) == b"old"
    assert reads("miss") == before + 1


def test_what_is_too_large_is_made_each_time_and_nobody_waits(cache, alice):
    row, before = Row(b"x" * (SIZE_MAX + 1)), reads("miss")

    assert shown(cache, alice, row.read) == shown(cache, alice, row.read) == row.value

    assert (row.reads, reads("miss")) == (2, before + 2)


def test_switched_off_nothing_is_read_or_kept_and_writes_are_bumped_all_the_same(redis, cache, alice):
    row, off = Row(), process(redis, is_on=False)
    shown(off, alice, row.read)
    assert not redis.exists(alice.key)

    shown(cache, alice, row.read)
    write(off, alice, row)

    assert (shown(cache, alice, row.read), shown(off, alice, row.read)) == (b"new", b"new")


@pytest.mark.parametrize("stop", [Server.kill, Server.freeze])
def test_while_redis_is_away_everything_is_read_and_a_write_is_shown_by_its_process_for_good(server, alice, stop):
    with connected(server) as client:
        row, cache = Row(), process(client)
        shown(cache, alice, row.read)
        stop(server)

        write(cache, alice, row)

        assert cache.is_behind
        assert shown(cache, alice, row.read) == b"new"
        server.start() if stop is Server.kill else server.thaw()
        until(lambda: shown(cache, alice, row.read) == b"new" and not cache.is_behind)
        assert shown(cache, alice, row.read) == b"new"


def test_a_bump_that_failed_has_its_process_read_past_the_cache_and_is_made_up_for(redis, silent, other, alice):
    """The writer does not reach Redis while another process does: that one alone may be behind, until it is paid."""
    row = Row()
    shown(other, alice, row.read)
    silent._store._client = redis_client(f"redis://127.0.0.1:{free_port(0)}")

    write(silent, alice, row)
    silent._store._client = redis

    before = reads("past")
    assert shown(silent, alice, row.read) == b"new"
    assert reads("past") == before + 1
    assert shown(other, alice, row.read) == b"old"
    silent.pay()
    assert not silent.is_behind
    assert (shown(other, alice, row.read), shown(silent, alice, row.read)) == (b"new", b"new")


def test_what_has_failed_again_while_it_was_paid_is_still_owed(silent, alice, monkeypatch):
    silent._owe([alice])
    taken = Store.bump

    def bumped(self: Store, stamps: Any) -> None:
        taken(self, stamps)
        silent._owe([alice])

    monkeypatch.setattr(Store, "bump", bumped)
    silent.pay()
    assert silent.is_behind

    monkeypatch.setattr(Store, "bump", taken)
    silent.pay()
    assert not silent.is_behind


def test_more_than_can_be_named_is_read_past_until_all_of_it_has_ended(silent, alice, monkeypatch):
    monkeypatch.setattr(cache_module, "OWED_MAX", 2)

    silent._owe(alice._replace(name=f"user:{number}") for number in range(3))
    silent.pay()

    assert silent.is_behind
    assert silent._owed == {}
    monkeypatch.setattr(time, "monotonic", lambda: silent._past_until)
    assert not silent.is_behind


def test_a_second_bump_does_nothing_where_the_first_was_the_last(redis, cache, alice):
    row = Row()
    shown(cache, alice, row.read)
    bump(cache, alice, "write 1")
    shown(cache, alice, row.read)

    bump_again(cache, alice, "write 1")
    shown(cache, alice, row.read)
    assert row.reads == 2

    for stamp in ("write 2", ""):
        bump_again(cache, alice, stamp)
        shown(cache, alice, row.read)
    assert row.reads == 4


def test_a_second_bump_does_not_bring_back_what_the_first_had_stood_for(cache, alice):
    row = Row()
    shown(cache, alice, row.read)
    bump(cache, alice, "write 1")
    shown(cache, alice, row.read)
    row.value = b"new"
    bump(cache, alice, "write 2")

    bump_again(cache, alice, "write 1")

    assert shown(cache, alice, row.read) == b"new"


def test_a_second_bump_that_redis_does_not_take_is_the_callers(server, alice):
    with connected(server) as client:
        cache = process(client)
        server.kill()

        with pytest.raises(RedisAway):
            bump_again(cache, alice, "write")

        assert not cache.is_behind


def test_a_server_that_has_lost_its_scripts_gets_them_again(redis, cache, alice):
    row = Row()
    shown(cache, alice, row.read)
    redis.script_flush()

    write(cache, alice, row)
    assert shown(cache, alice, row.read) == b"new"

    redis.script_flush()
    assert shown(cache, alice, row.read) == b"new"
    assert not cache.is_behind


def test_all_versions_of_a_write_are_bumped_in_one_round_trip_and_a_hit_costs_another(redis, alice, monkeypatch):
    sent: list[int] = []
    execute, command = GuardedPipeline.execute, GuardedRedis.execute_command

    def counted(self: GuardedPipeline, *args: Any, **more: Any) -> list[Any]:
        sent.append(len(self.command_stack))
        return execute(self, *args, **more)

    def counted_command(self: GuardedRedis, *args: Any, **more: Any) -> Any:
        sent.append(1)
        return command(self, *args, **more)

    many = dict.fromkeys((f"user:{number}" for number in range(300)), "write")
    cache = process(redis)
    shown(cache, alice, Row().read)
    bump(cache, alice, "before")
    shown(cache, alice, Row().read)
    monkeypatch.setattr(GuardedPipeline, "execute", counted)
    monkeypatch.setattr(GuardedRedis, "execute_command", counted_command)

    shown(cache, alice, Row().read)
    cache.bump({alice.owner: many, alice.owner + 1: many})

    assert sent == [1, 2 * -(-300 // BUMPED_AT_ONCE)]


def test_all_keys_of_an_owner_are_in_one_slot_of_a_cluster(redis, cache, alice):
    shown(cache, alice, Row().read)
    shown(cache, alice._replace(name="client"), Row().read, name="other")

    keys = redis.keys(f"cache:{{{alice.owner}}}:*")

    assert len(keys) == 4
    assert len({key_slot(key) for key in keys}) == 1


def test_reads_are_counted_and_the_share_of_hits_is_shown(cache, alice):
    row = Row()
    before = reads("hit"), reads("miss")

    for _ in range(4):
        shown(cache, alice, row.read)

    assert (reads("hit"), reads("miss")) == (before[0] + 3, before[1] + 1)
    assert REGISTRY.get_sample_value("cache_hit_ratio", {"cache": "test"}) == 0.75


def test_in_a_storm_nobody_is_shown_less_than_what_was_answered_before_he_asked(redis, alice):
    """Three processes write and read a number that only grows, while versions and values are evicted."""
    number, answered, lock, ended = 0, 0, threading.Lock(), threading.Event()
    processes = [process(redis) for _ in range(3)]

    def count(cache: VersionedCache) -> None:
        nonlocal number, answered
        for _ in range(100):
            with lock:
                number += 1
                written = number
            bump(cache, alice, f"write {written}")
            with lock:
                answered = max(answered, written)

    def look(cache: VersionedCache) -> int:
        looks = 0
        while not ended.is_set():
            least = answered
            assert int(shown(cache, alice, lambda: b"%d" % number)) >= least
            looks += 1
        return looks

    def evict() -> None:
        while not ended.is_set():
            redis.delete(alice.key)
            redis.delete(f"cache:{{{alice.owner}}}:value:page")

    with ThreadPoolExecutor(8) as pool:
        looking = [pool.submit(look, cache) for cache in (*processes, processes[0])]
        evicting = pool.submit(evict)
        counting = [pool.submit(count, cache) for cache in processes]
        for one in counting:
            one.result()
        ended.set()
        evicting.result()

        assert all(one.result() for one in looking)
    assert int(shown(processes[0], alice, lambda: b"%d" % number)) == 300


def test_four_of_five_reads_of_a_zipf_mix_are_hits_though_the_relay_bumps_again(redis, cache, other, monkeypatch):
    """95 reads to 5 writes, each of two users; `bench cache` has more users and takes its time."""
    monkeypatch.setattr(cache_module, "UNSURE_S", TTL_S)
    source, users, owner = random.Random(5), 400, uuid4().int
    weights = list(accumulate(1 / rank for rank in range(1, users + 1)))
    of = [Version(owner, f"user:{number}") for number in range(users)]
    found: list[Found] = []
    for number in range(2_400):
        if number % 20:
            (version,) = source.choices(of, cum_weights=weights)
            found.append(cache.read("zipf", version, version.name, Row().read))
        else:
            pair = source.choices(of, cum_weights=weights, k=2)
            stamps = {owner: {version.name: f"write {number}" for version in pair}}
            cache.bump(stamps)
            other.bump_again(stamps)

    settled = found[len(found) // 2 :]
    assert sum(one.age_s is not None for one in settled) / len(settled) > 0.8
