"""Identifiers: rising within a process, never twice, whoever makes them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from config.runtime import ids
from config.runtime.ids import moment_of, uuid7, uuid7s

RANDOM_BITS = (1 << 62) - 1


def random_part(identifier: UUID) -> int:
    return identifier.int & RANDOM_BITS


def test_ids_of_one_process_rise_and_are_of_version_7():
    made = [uuid7(), *uuid7s(1_000), uuid7()]
    assert made == sorted(set(made))
    assert {(one.version, one.variant) for one in made} == {(7, made[0].variant)}
    assert moment_of(made[0]) <= moment_of(made[-1])


def test_threads_never_make_the_same_random_bits():
    with ThreadPoolExecutor(8) as threads:
        made = [one for many in threads.map(lambda _: [uuid7() for _ in range(2_000)], range(8)) for one in many]
    assert len({random_part(one) for one in made}) == 16_000


def test_more_than_is_kept_in_stock_is_random_as_well():
    made = uuid7s(ids.ENTROPY_SIZE)
    assert len({random_part(one) for one in made}) == ids.ENTROPY_SIZE


def test_a_child_draws_random_bits_of_its_own():
    uuid7()  # the parent has some in stock
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, uuid7().bytes)
        os._exit(0)
    os.waitpid(child, 0)
    theirs = UUID(bytes=os.read(reading, 16))
    for end in (reading, writing):
        os.close(end)
    assert random_part(theirs) != random_part(uuid7())
