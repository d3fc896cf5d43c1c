"""One request and its answer on a wire."""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus

from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from config.runtime.outbound.errors import OutboundFailed
from config.runtime.outbound.targets import Target
from config.runtime.outbound.wire import Wire

HEAD_LIMIT = 64 * 1024
USER_AGENT = "Countinghouse"


class _FinalResponse(http.client.HTTPResponse):
    """The first answer that is not interim: http.client skips 100 alone."""

    def begin(self) -> None:
        super().begin()
        while self.status < HTTPStatus.OK and self.status != HTTPStatus.SWITCHING_PROTOCOLS:
            self.headers = None  # type: ignore[assignment]  # how http.client marks an answer that has not begun
            super().begin()
        # What the parser left over of a malformed head urllib3 would log, with the URL, as often as a receiver likes.
        self.headers.defects.clear()
        self.headers.set_payload("")


class _Connection(HTTPConnection):
    response_class = _FinalResponse

    def __init__(self, target: Target, wire: Wire) -> None:
        super().__init__(target.host, target.port)
        self.sock = wire  # as much of a socket as http.client needs


def exchange(wire: Wire, target: Target, *, method: str, headers: Mapping[str, str], body: bytes) -> BaseHTTPResponse:
    """Write the request, read the head of the answer.

    Raises:
        OutboundFailed: the reason is `protocol`, `too_large_headers`, `timeout` or `tls`.
    """
    ours = {"Host": target.authority, "Accept-Encoding": "identity", "Connection": "close"}
    wire.allow(HEAD_LIMIT, beyond="too_large_headers")
    connection = _Connection(target, wire)
    with _failing():
        connection.request(
            method,
            target.path,
            body=body,
            headers={"User-Agent": USER_AGENT, **headers, **ours},
            preload_content=False,
            decode_content=False,
        )
        response = connection.getresponse()
    if any("\x00" in value for value in response.headers.values()):
        raise OutboundFailed("protocol")  # RFC 9110 §5.5; PostgreSQL would refuse to store it
    return response


def read_body(wire: Wire, response: BaseHTTPResponse, *, limit: int) -> tuple[bytes, bool]:
    """Return the body up to `limit` bytes, and whether there was more.

    Raises:
        OutboundFailed: the body ends before it is complete, or does not come in time.
    """
    # A chunk of one byte takes six, and a head of its own could be of any length.
    wire.allow(8 * limit + HEAD_LIMIT, beyond="protocol")
    body = bytearray()
    with _failing():
        while len(body) <= limit and (part := response.read(limit + 1 - len(body), decode_content=False)):
            body += part
    return bytes(body[:limit]), len(body) > limit


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except http.client.HTTPException as error:
        # The bare class is what http.client raises for too many headers, and for nothing else.
        is_large = isinstance(error, http.client.LineTooLong) or type(error) is http.client.HTTPException
        raise OutboundFailed("too_large_headers" if is_large else "protocol") from error
    except HTTPError as error:
        raise OutboundFailed("protocol") from error
