"""The request's body: bounded, whole, plain UTF-8 JSON, and drained before a client of ours is refused."""

from __future__ import annotations

import threading
from typing import IO

from django.http import HttpRequest
from django.http.request import UnreadablePostError

from config.api.refusals import BodyIncomplete, BodyTooLarge, MediaTypeUnsupported

BODY_LIMIT = 1 << 20
BODY_LIMIT_MAX = 16 << 20
_CHUNK = 1 << 16
_DRAIN_WITHIN_S = 2.0
# A read cannot be given up: it lasts until the client sends or goes. So few bodies at a time are waited for.
_drains = threading.Semaphore(4)


def read_body(request: HttpRequest, *, limit: int = BODY_LIMIT) -> bytes:
    """Return the whole body of at most `limit` bytes, `b""` when there is none.

    Raises:
        MediaTypeUnsupported: not `application/json`, another charset than UTF-8, or any Content-Encoding.
        BodyTooLarge: Content-Length exceeds `limit`, which itself never exceeds 16 MiB.
        BodyIncomplete: the client went away.
    """
    limit = min(limit, BODY_LIMIT_MAX)
    length = int(request.META.get("CONTENT_LENGTH") or 0)
    if not length:
        return b""
    _check_type(request)
    if length > limit:
        raise BodyTooLarge(f"The body has {length} bytes; this operation takes {limit}.", limit_bytes=limit)
    try:
        body = request.read(length)
    except UnreadablePostError as error:
        raise BodyIncomplete from error
    if len(body) != length:
        raise BodyIncomplete
    return body


def is_unread(request: HttpRequest) -> bool:
    """Tell whether a body was announced and nobody has begun to read it."""
    announced = request.META.get("CONTENT_LENGTH") not in {None, "", "0"} or "HTTP_TRANSFER_ENCODING" in request.META
    return announced and not getattr(request, "_read_started", False)  # Django tells it in no other way


def drop_rest(request: HttpRequest) -> bool:
    """Read and forget the body, up to 16 MiB, and tell whether its end came within two seconds.

    A server that answers and closes while the client is sending resets the connection, and the answer is lost with it.
    """
    if not _drains.acquire(blocking=False):
        return False
    ended = threading.Event()
    threading.Thread(target=_drain, args=(request, ended), name="drain", daemon=True).start()
    return ended.wait(_DRAIN_WITHIN_S)


def _drain(request: HttpRequest, ended: threading.Event) -> None:
    stream: HttpRequest | IO[bytes] = request
    if request.META.get("wsgi.input_terminated"):  # the server marks the end itself, so a body without length ends too
        stream = request.META["wsgi.input"]
    left = BODY_LIMIT_MAX
    try:
        while left > 0 and (chunk := stream.read(min(_CHUNK, left))):
            left -= len(chunk)
        if left > 0:
            ended.set()
    except OSError:
        ended.set()  # nobody is left to answer
    finally:
        _drains.release()


def _check_type(request: HttpRequest) -> None:
    if request.META.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
        raise MediaTypeUnsupported("Content-Encoding is not supported on requests: send the body as it is.")
    charset = request.content_params.get("charset", "utf-8").lower() if request.content_params else "utf-8"
    if request.content_type != "application/json" or charset not in {"utf-8", "utf8"}:
        raise MediaTypeUnsupported
