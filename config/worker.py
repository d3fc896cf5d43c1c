"""The worker, `python -m config.worker`: Dramatiq with one process, its threads and its time to end as configured.

Takes Dramatiq's own options (`--help`). SIGTERM or Ctrl-C stops it: nothing new is taken, a message that runs on and on
hears of it, and what is in hand has SHUTDOWN_TIMEOUT_S to end; a second signal changes nothing. To change it, start the
new one and then stop the old.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dramatiq import cli

from config.env import Environment, read_environment


def arguments(env: Environment, given: Sequence[str]) -> list[str]:
    """Return Dramatiq's arguments; what is given comes last and wins."""
    threads, end_within_ms = env.num_processor_workers, env.shutdown_timeout_s * 1000
    ours = f"--skip-logging --processes 1 --threads {threads} --worker-shutdown-timeout {end_within_ms} config.broker"
    return [*ours.split(), *given]


def main() -> None:
    parser = cli.make_argument_parser()  # type: ignore[no-untyped-call]  # untyped there
    sys.exit(cli.main(parser.parse_args(arguments(read_environment(), sys.argv[1:]))))  # type: ignore[no-untyped-call]  # likewise


if __name__ == "__main__":
    main()
