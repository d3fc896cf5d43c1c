"""`python -m benchmarks.storm SECONDS`: prints a JSON object as its last line; exits with 1 when harm was done."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tqdm import tqdm

from benchmarks.procs import wait_until
from benchmarks.storm.crowd import Crowd
from benchmarks.storm.faults import Director
from benchmarks.storm.ground import Ground
from benchmarks.storm.verdict import Verdict
from config.localstack.signals import interrupt_on_stop_signals

# After the last fault: for those who still ask, and for what was accepted and has no outcome.
ANSWERED_WITHIN_S, FINAL_WITHIN_S = 60.0, 90.0


def main(seconds: float) -> int:
    interrupt_on_stop_signals()
    with ExitStack() as stack:
        ground = Ground(stack)
        try:
            verdict = _storm(ground, stack, seconds)
        except KeyboardInterrupt:
            ground.is_clean = True
            return 128 + signal.SIGINT
        print(json.dumps({"tables": verdict.tables(), "harm": verdict.harm}))
        ground.is_clean = not verdict.harm
        return 0 if ground.is_clean else 1


def _storm(ground: Ground, stack: ExitStack, seconds: float) -> Verdict:
    crowd = Crowd(ground.port, ground.open_books())
    director = Director(ground, seconds, answered=lambda: crowd.acknowledged)
    crowd.start()
    stack.callback(crowd.stop, 0)
    with _shown(crowd, director, seconds):
        director.run()
    crowd.stop(ANSWERED_WITHIN_S)
    return Verdict(ground, crowd, director, _settle(ground))


@contextmanager
def _shown(crowd: Crowd, director: Director, seconds: float) -> Iterator[None]:
    """Show a bar meanwhile.

    In a thread of its own, not the director: a server that a thread has started is told to stop when the thread ends.
    """
    over = threading.Event()

    def show() -> None:
        begun = time.monotonic()
        with tqdm(total=round(seconds), unit="s", file=sys.stderr, mininterval=0.5) as bar:
            while not over.wait(0.5):
                bar.set_postfix_str(f"{crowd.acknowledged:,} acknowledged, {director.last}", refresh=False)
                bar.update(min(round(seconds), int(time.monotonic() - begun)) - bar.n)

    thread = threading.Thread(target=show, name="bar", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _settle(ground: Ground) -> float:
    """Wait until everything that was accepted has an outcome, and return the seconds; too long is for the verdict."""
    begun = time.monotonic()
    try:
        wait_until(lambda: ground.waiting() == 0, timeout_s=FINAL_WITHIN_S, what="everything is final")
    except TimeoutError as error:
        print(error, file=sys.stderr)
    return time.monotonic() - begun


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
