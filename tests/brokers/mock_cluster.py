"""The Kafka inside librdkafka, made for its own tests, in a process of its own: quick, and it fails on demand.

It keeps what it is sent in memory, makes topics by command alone, and knows no limit of size.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import confluent_kafka


class MockCluster:
    """`with` starts one broker of it."""

    def __init__(self, topics: dict[str, int]) -> None:
        self._topics = topics

    def __enter__(self) -> Self:
        program = [sys.executable, "-m", __spec__.name]
        self._process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = f"kafka://{self._answer()}"
        for name, partitions in self._topics.items():
            self.tell("topic", name, partitions)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def tell(self, command: str, *arguments: Any) -> None:
        """Have the broker `down` or `up`, answer the next requests by an `error`, or make a `topic`."""
        assert self._process.stdin is not None
        print(json.dumps([command, *arguments]), file=self._process.stdin, flush=True)
        assert self._answer() == 0

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


def main() -> None:
    library = _library()
    function = _functions(library)
    said = ctypes.create_string_buffer(512)
    configuration = function("rd_kafka_conf_new", ctypes.c_void_p)()
    client = function("rd_kafka_new", ctypes.c_void_p)(0, ctypes.c_void_p(configuration), said, len(said))
    assert client, said.value
    cluster = ctypes.c_void_p(
        function("rd_kafka_mock_cluster_new", ctypes.c_void_p)(ctypes.c_void_p(client), ctypes.c_int(1))
    )
    _say(function("rd_kafka_mock_cluster_bootstraps", ctypes.c_char_p)(cluster).decode())
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        _say(_commands(function, cluster)[command](*arguments))


def _commands(function: Callable[..., Any], cluster: ctypes.c_void_p) -> dict[str, Callable[..., int]]:
    def fail(request: int, error: int, times: int) -> int:
        errors = (ctypes.c_int * times)(*[error] * times)
        push = function("rd_kafka_mock_push_request_errors_array", None)
        push(cluster, ctypes.c_int16(request), ctypes.c_size_t(times), errors)
        return 0

    def topic(name: str, partitions: int) -> int:
        make = function("rd_kafka_mock_topic_create", ctypes.c_int)
        return int(make(cluster, name.encode(), ctypes.c_int(partitions), ctypes.c_int(1)))

    first = ctypes.c_int32(1)
    return {
        "down": lambda: function("rd_kafka_mock_broker_set_down", ctypes.c_int)(cluster, first),
        "up": lambda: function("rd_kafka_mock_broker_set_up", ctypes.c_int)(cluster, first),
        "error": fail,
        "topic": topic,
    }


def _functions(library: ctypes.CDLL) -> Callable[..., Any]:
    def function(name: str, result: Any) -> Any:
        found = getattr(library, name)
        found.restype = result
        return found

    return function


def _library() -> ctypes.CDLL:
    package = Path(confluent_kafka.__file__).parent
    places = [*package.parent.glob("confluent_kafka.libs/librdkafka*"), *package.glob(".dylibs/librdkafka*")]
    return ctypes.CDLL(str(next(place for place in places if "++" not in place.name)))


def _say(answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
