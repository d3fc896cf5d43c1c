"""`python -m config.localstack COMMAND`: what `dev.py` becomes when everything is installed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from config.localstack import commands
from config.localstack.arguments import parse
from config.localstack.errors import StackError
from config.localstack.signals import interrupt_on_stop_signals
from config.localstack.up import up


def main(arguments: Sequence[str]) -> int:
    """Run the command and return the exit code: 1 when the stack cannot do it, 2 for wrong arguments."""
    command = parse(arguments)
    interrupt_on_stop_signals()
    try:
        match command.name:
            case "up":
                return up(command.port)
            case "test":
                return commands.test(command.rest)
            case "bench":
                return commands.bench(command.rest)
            case _:
                return commands.manage(command.rest)
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
