"""What the URL of a broker says: where it is, who we are there, and how we wish to be served."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit


class BrokerUrl(NamedTuple):
    """`hosts` as written: one, or several with commas between. Not to be logged: options hold passwords too."""

    hosts: str
    user: str
    password: str
    options: dict[str, str]

    @classmethod
    def of(cls, url: str) -> BrokerUrl:
        parts = urlsplit(url)
        credentials, _, hosts = parts.netloc.rpartition("@")
        user, _, password = credentials.partition(":")
        return cls(
            hosts, unquote(user), unquote(password), dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        )
