"""`up`: the whole service on this machine, in the foreground."""

from __future__ import annotations

import http.client
import os
import signal
import sys
import time
from functools import partial

from config.localstack import foreground
from config.localstack.errors import StackError
from config.localstack.ports import HOST, is_free
from config.localstack.processes import describe, end_orphan
from config.localstack.signals import ignore_stop_signals
from config.localstack.stack import PROFILES, ROOT, Stack, environment
from config.localstack.supervisor import Supervisor

DIRECTORY = ROOT / ".local" / "up"
_READY_WITHIN_S = 90

# Benchmarks start the web in the same way.
WEB = "-m config.web --host {host} --port {port} --workers 2 --blocking-threads 32 --backlog 1024 --log-level error"
PROCESSES = {
    "worker": "-m config.worker",
    "relay": "manage.py relay_events",
    "web": WEB,
}
# All are told to end at once, and of the 30 s for everything the servers need 9. Nobody looks at this /readyz.
_END_WITHIN_S = 19
_ENDING = {"DRAIN_S": "0", "SHUTDOWN_TIMEOUT_S": "15"}


def up(port: int) -> int:
    """Serve until Ctrl-C or SIGTERM, then stop everything that was started within 30 s.

    Raises:
        StackError: the port is taken, the stack is in use, or something of it does not start or ended by itself.
    """
    stack = Stack(DIRECTORY, PROFILES["up"])
    stack.claim("dev.py up")
    for name in PROCESSES:
        end_orphan(DIRECTORY / f"{name}.pid", signal.SIGTERM)
    if not is_free(port):
        raise StackError(
            f"Port {port} is taken: stop what listens there, or choose another with --port {port % 65535 + 1}."
        )
    with stack.running():
        _manage("migrate", "--verbosity", "0")
        _manage("make_demo", "--base-url", f"http://{HOST}:{port}", "--output", str(ROOT / ".local" / "demo.json"))
        return _serve(stack, port)


def _manage(*arguments: str) -> None:
    code = foreground.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=environment(DIRECTORY, "command", os.environ)
    )
    if code:
        raise StackError(f"manage.py {arguments[0]} failed ({describe(code)}); nothing is served.")


def _serve(stack: Stack, port: int) -> int:
    supervisor = Supervisor(DIRECTORY, stack.servers)
    try:
        _start_processes(supervisor, port)
        supervisor.run_until(partial(_is_ready, port, time.monotonic() + _READY_WITHIN_S))
        print(f"ready: http://{HOST}:{port}", flush=True)
        supervisor.run_until(lambda: False)
    except StackError as error:
        print(f"{error} Stopping everything.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopping.", file=sys.stderr)
    finally:
        ignore_stop_signals()
        supervisor.stop()
    return 0


def _start_processes(supervisor: Supervisor, port: int) -> None:
    for name, arguments in PROCESSES.items():
        env = {**_ENDING, **environment(DIRECTORY, name, os.environ), "PYTHONUNBUFFERED": "1"}
        filled = [sys.executable, *(word.format(host=HOST, port=port) for word in arguments.split())]
        supervisor.start(name, filled, cwd=ROOT, env=env, grace_s=_END_WITHIN_S)


def _is_ready(port: int, deadline: float) -> bool:
    """Say whether the web server answers /readyz with 200.

    Raises:
        StackError: the deadline has passed.
    """
    if time.monotonic() > deadline:
        raise StackError(f"The web server is not ready after {_READY_WITHIN_S} s.")
    connection = http.client.HTTPConnection(HOST, port, timeout=1)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
