"""The web server, `python -m config.web`: granian, with an end and a changing of the guard that lose no request.

Takes granian's own options (`--help`) and its variables `GRANIAN_…`. SIGTERM or Ctrl-C stops it: every answer then says
`Connection: close` and /readyz is red for DRAIN_S, then nothing new is taken, and what is in flight has
SHUTDOWN_TIMEOUT_S to end. SIGHUP puts new workers, with the code as it lies on the disk now, in the place of the old
ones, which end in the same way.

The main process imports nothing of ours: its children would inherit the old code at SIGHUP.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from granian import _signals, cli
from granian._granian import ListenerSpec, SocketHolder, WorkerSignal
from granian.server.mp import MPServer, WorkerProcess

# The last resort for a worker that hangs: more than the longest DRAIN_S, SHUTDOWN_TIMEOUT_S and closing together.
KILL_AFTER_S = 110
# Whoever has connected before the end says by then what he wants.
READ_WITHIN_S = 0.3
HOST = "127.0.0.1"
STOPS = (signal.SIGINT, signal.SIGTERM)
# What granian calls backpressure is how many connections a worker has at most, those included that say nothing. And
# only of who is known to speak HTTP/1 it ends the connection when he does not say what he wants.
CONNECTIONS_MAX = 10_000
HEADERS_BYTES_MAX = 1 << 17  # with less, bodies are read in more pieces
DEFAULTS = (
    f"--interface wsgi --no-ws --http 1 --backpressure {CONNECTIONS_MAX} --http1-buffer-size {HEADERS_BYTES_MAX}"
    f" --workers-kill-timeout {KILL_AFTER_S} --respawn-failed-workers config.wsgi:application"
)

# One for each worker; the holder is granian's name for the same descriptor.
_listeners: list[tuple[SocketHolder, socket.socket]] = []


class WebServer(MPServer):
    """granian's server, for WSGI over TCP."""

    def _init_shared_socket(self) -> None:
        """Listen here, once for each worker: what waits to be accepted is its successor's.

        On Linux granian lets the workers listen by themselves, and what waits is reset when one stops. One listener for
        all would be no better: whoever wakes first accepts nearly all of a burst.
        """
        if self.bind_uds:
            super()._init_shared_socket()  # type: ignore[no-untyped-call]
            return
        for _ in range(self.workers):
            holder = ListenerSpec(self.bind_addr, self.bind_port, self.backlog).build()
            listener = socket.socket(fileno=holder.get_fd())
            listener.set_inheritable(True)
            _listeners.append((holder, listener))

    def _spawn_worker(self, idx: int, target: Any, callback_loader: Any) -> WorkerProcess:  # type: ignore[override]
        if _listeners:
            self._shd, self._sso = _listeners[idx]  # type: ignore[assignment]
        worker = super()._spawn_worker(idx, target, callback_loader)
        worker.is_alive = partial(_is_alive, worker)  # type: ignore[method-assign]
        worker.inner.start = partial(_start_unheard, worker.inner.start)
        return worker

    def _drop_shared_socket(self) -> None:
        super()._drop_shared_socket()  # type: ignore[no-untyped-call]
        for _, listener in _listeners:
            listener.close()

    @staticmethod
    def _spawn_wsgi_worker(*arguments: Any) -> None:
        """Serve in a worker process, from its beginning to its end."""
        # Until it serves, a signal just ends it; the handlers that it has of the main process only take a note.
        for number in STOPS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        _, (_, listener) = arguments[2:4]
        for _, other in _listeners:
            if other is not listener:
                other.close()
        _signals.set_sync_signals = partial(_stop_in_order, listener)
        MPServer._spawn_wsgi_worker(*arguments)  # noqa: SLF001  (what is overridden here)
        from config.shutdown import close_process

        close_process()


def _start_unheard(start: Callable[[], None]) -> None:
    """Start a process to which no signal comes until it lets it: what comes meanwhile waits, and is not lost."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _is_alive(worker: WorkerProcess) -> bool:
    """Ask the pipe that ends with the process.

    granian asks in one thread what another is just reaping, and would then kill a worker that has ended as it should.
    """
    return not wait([worker.inner.sentinel], timeout=0)


def _stop_in_order(listener: socket.socket) -> WorkerSignal:
    """Handle the worker's signals from now on; what is returned stops granian once it is set."""
    from config.runtime import stopping

    stop = WorkerSignal()

    def on_signal(*_: Any) -> None:
        # The second signal comes as a rule: a group of processes is told as a whole, and each once more by its parent.
        if stopping.begin():
            threading.Thread(target=_drain, args=(listener, stop), name="drain", daemon=True).start()

    _signals.set_main_signals(on_signal)  # type: ignore[no-untyped-call]
    return stop


def _drain(listener: socket.socket, stop: WorkerSignal) -> None:
    from django.conf import settings

    from config.runtime.logging import get_logger

    time.sleep(settings.DRAIN_S)
    _stop_accepting(listener)
    time.sleep(READ_WITHIN_S)
    stop.set()
    time.sleep(settings.SHUTDOWN_TIMEOUT_S)
    get_logger().error("web.stop_overdue", timeout_s=settings.SHUTDOWN_TIMEOUT_S)
    os._exit(1)


def _stop_accepting(listener: socket.socket) -> None:
    """Put a listener to which nobody comes in the place of the worker's, in this process alone.

    granian would close what it accepted last before it has read the request.
    """
    nobody = socket.create_server((HOST, 0), backlog=0)
    nobody.setblocking(False)
    ours = os.fstat(listener.fileno())
    for descriptor in [int(path.name) for path in Path("/dev/fd").iterdir()]:
        with suppress(OSError):  # the descriptor of the listing itself is closed again
            if os.path.samestat(os.fstat(descriptor), ours):
                os.dup2(nobody.fileno(), descriptor)


def main() -> None:
    cli.Server = WebServer  # type: ignore[attr-defined]
    cli.cli(args=[*DEFAULTS.split(), *sys.argv[1:]], auto_envvar_prefix="GRANIAN")


if __name__ == "__main__":
    main()
