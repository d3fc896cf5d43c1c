"""Kafka itself, one node that is broker and controller, from the jars that Maven fetches once for a checkout."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from config.localstack.locks import FileLock
from config.localstack.ports import HOST, free_port
from config.localstack.stack import ROOT
from tests.brokers.certificates import Certificate
from tests.brokers.server import BrokerMissing, Server

JARS = Path(__file__).with_name("kafka.xml")
CLUSTER = "countinghouse-tests-00"  # 16 bytes in base64
FETCH_S = 90  # in the time that a test has; the next run goes on from there
CONFIGURATION = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers={host}:{controller}
listeners=PLAINTEXT://{host}:{port},SASL_SSL://{host}:{secured},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port},SASL_SSL://{host}:{secured},CONTROLLER://{host}:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_ssl.plain.sasl.jaas.config=\
 org.apache.kafka.common.security.plain.PlainLoginModule required user_events="{password}";
listener.name.sasl_ssl.ssl.keystore.type=PEM
listener.name.sasl_ssl.ssl.keystore.location={keystore}
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
"""
# A quick start counts for more than speed that comes after a while.
JAVA = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]


class Kafka(Server):
    """One node, which makes no topic unasked; at `secured_port` it speaks TLS with `events`, who has a `password`."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.secured_port, self.password = free_port(0), secrets.token_hex(16)
        self.bootstrap = f"{HOST}:{self.port}"
        self.url = f"kafka://{self.bootstrap}"
        self._java, self._jars = find_kafka()
        self._properties = directory / "server.properties"
        self._data = directory / "data"
        self.certificate = Certificate.made(directory)
        keystore = directory / "keystore.pem"
        keystore.write_text(self.certificate.key.read_text() + self.certificate.server.read_text())
        self._properties.write_text(
            CONFIGURATION.format(
                host=HOST,
                port=self.port,
                secured=self.secured_port,
                controller=free_port(0),
                data=self._data,
                keystore=keystore,
                password=self.password,
            )
        )

    def start(self) -> None:
        if not self._data.exists():
            format_data = ["format", "--standalone", "-t", CLUSTER, "-c", str(self._properties)]
            subprocess.run(self._java_call("kafka.tools.StorageTool", *format_data), check=True, capture_output=True)
        self._run("kafka", self._java_call("kafka.Kafka", str(self._properties)), dict(os.environ))
        self._wait()

    def serves(self) -> bool:
        if not super().serves():
            return False
        try:
            AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0}).list_topics(timeout=2)
        except KafkaException:
            return False
        return True

    def _java_call(self, *arguments: str) -> list[str | Path]:
        return [self._java, *JAVA, "-cp", f"{self._jars}/*", *arguments]


def find_kafka() -> tuple[str, Path]:
    """Return the path of Java and the directory of Kafka's jars.

    Raises:
        BrokerMissing: they cannot be had.
    """
    java = shutil.which("java")
    if java is None:
        raise BrokerMissing("Kafka needs Java 17 (Debian and Ubuntu: apt install openjdk-17-jre-headless maven)")
    jars = ROOT / ".local" / f"kafka-{hashlib.sha256(JARS.read_bytes()).hexdigest()[:12]}"
    lock = FileLock(jars.with_suffix(".lock"))
    lock.acquire(wait=True)
    try:
        if not jars.exists():
            _fetch(jars)
    finally:
        lock.close()
    return java, jars


def _fetch(jars: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerMissing("Kafka is fetched by Maven (Debian and Ubuntu: apt install maven)")
    half = jars.with_suffix(".half")
    copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={half}"]
    try:
        subprocess.run([maven, "-B", "-q", "-f", JARS, *copy], capture_output=True, timeout=FETCH_S, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        shutil.rmtree(half, ignore_errors=True)
        raise BrokerMissing(f"Maven cannot fetch Kafka: {(error.stdout or b'').decode()[-2000:]}") from error
    half.rename(jars)


if __name__ == "__main__":
    find_kafka()
