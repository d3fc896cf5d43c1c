"""RabbitMQ as Debian packages it, as whatever user runs the tests; its name server (epmd) is a child like itself."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pika

from config.localstack.ports import HOST, free_port
from tests.brokers.certificates import Certificate
from tests.brokers.server import BrokerMissing, Server

# The program on the PATH would change to another user.
PROGRAMS = "rabbitmq_server-*/sbin/rabbitmq-server"
MESSAGE_BYTES_MAX = 1_048_576
# A node that is killed forgets the quorum queues that it made in its last seconds, and is deaf to them afterwards.
QUEUE_SETTLES_S = 8
CONFIGURATION = """\
listeners.tcp.1 = {host}:{port}
listeners.ssl.1 = {host}:{secured}
ssl_options.cacertfile = {authority}
ssl_options.certfile = {server}
ssl_options.keyfile = {key}
max_message_size = {size}
disk_free_limit.absolute = 50MB
log.console = true
log.console.level = warning
log.file = false
"""
# One thread, which sleeps when there is nothing to do; without a terminal.
ERLANG = "-noinput +S 1:1 +sbwt none +sbwtdcpu none -kernel inet_dist_use_interface {127,0,0,1}"


class RabbitMQ(Server):
    """A node without plugins; at `secured_port` it speaks TLS."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.url = f"amqp://guest:guest@{HOST}:{self.port}/%2F"
        self._program, self._epmd = find_rabbitmq()
        self._env = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(directory),
            "RABBITMQ_NODENAME": f"tests{self.port}@localhost",
            "RABBITMQ_MNESIA_BASE": str(directory / "data"),
            "RABBITMQ_LOG_BASE": str(directory),
            "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_DIST_PORT": str(free_port(0)),
            "RABBITMQ_ALLOW_INPUT": "1",  # as one process, with which its caller's signals arrive
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG,
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(free_port(0)),
        }
        self.secured_port, self.certificate = free_port(0), Certificate.made(directory)
        (directory / "rabbitmq.conf").write_text(
            CONFIGURATION.format(
                host=HOST,
                port=self.port,
                secured=self.secured_port,
                size=MESSAGE_BYTES_MAX,
                **{name: str(path) for name, path in self.certificate._asdict().items()},
            )
        )
        (directory / "plugins").write_text("[].\n")

    def start(self) -> None:
        # Else the node would start one that nobody stops.
        self._run("epmd", [self._epmd], self._env)
        self._run("rabbitmq", [self._program], self._env)
        self._wait()

    def serves(self) -> bool:
        if not super().serves():
            return False
        try:
            pika.BlockingConnection(pika.URLParameters(self.url)).close()
        except pika.exceptions.AMQPError:
            return False
        return True


def find_rabbitmq() -> tuple[Path, str]:
    """Return the paths of RabbitMQ and of epmd.

    Raises:
        BrokerMissing: there are none.
    """
    program = max(Path("/usr/lib/rabbitmq/lib").glob(PROGRAMS), default=None)
    epmd = shutil.which("epmd")
    if program is None or epmd is None:
        raise BrokerMissing("RabbitMQ is not installed (Debian and Ubuntu: apt install rabbitmq-server)")
    return program, epmd
