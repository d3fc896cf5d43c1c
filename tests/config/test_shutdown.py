"""What the end of a process closes, in a process that ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from config.runtime import stopping
from config.schedule import Job, Runner

ENDING = """
import atexit, multiprocessing, sys

import django
django.setup()
from django.db import connection

from config.runtime import batching
from config.shutdown import close_process

def live():
    atexit.register(print, "last words", flush=True)
    batcher = batching.MicroBatcher(name="test", flush=lambda items: [item * 2 for item in items])
    print(batcher.submit(21, timeout_s=5))
    with connection.cursor() as cursor:
        cursor.execute("SELECT 41 + 1")
    pool = connection.pool
    close_process()
    print(pool.closed, batcher.close(0))
    try:
        batcher.submit(21, timeout_s=5)
    except batching.ShuttingDown as refused:
        print(refused.code)

child = multiprocessing.get_context("fork").Process(target=live)
child.start()
child.join()
sys.exit(child.exitcode)
"""


def test_the_end_of_a_process_flushes_its_batchers_closes_its_pools_and_lets_libraries_say_their_last_words(
    django_db_setup,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDING],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert (done.stdout.splitlines(), done.stderr) == (["42", "last words", "True True", "shutting_down"], "")
    assert done.returncode == 0


def work_in_rounds() -> None:
    while not stopping.wait(0.01):
        pass


def test_a_job_that_works_in_rounds_hears_that_the_schedule_ends(db) -> None:
    runner = Runner([Job(name="rounds", every_s=3600, call="tests.config.test_shutdown.work_in_rounds", doc="")])
    runner.start_due(time.monotonic())

    assert runner.wait(10)
    assert not stopping.stopping()
