"""The client's address: what proxies of ours saw is believed, and what the client writes is not."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import RequestFactory

from config.api.addresses import UNKNOWN, client_address


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        pytest.param(0, None, "10.0.0.9", id="nobody between"),
        pytest.param(0, "6.6.6.6", "10.0.0.9", id="nobody between, and a client that says so"),
        pytest.param(1, "203.0.113.5", "203.0.113.5", id="one proxy"),
        pytest.param(1, "6.6.6.6, 203.0.113.5", "203.0.113.5", id="one proxy and a lie before it"),
        pytest.param(2, "6.6.6.6,203.0.113.5 , 10.0.0.8", "203.0.113.5", id="two proxies and a lie before them"),
        pytest.param(2, "203.0.113.5", "203.0.113.5", id="the inner proxy alone"),
        pytest.param(1, "2001:DB8:0::1", "2001:db8::1", id="another way to write it"),
        pytest.param(1, "::ffff:203.0.113.5", "203.0.113.5", id="of a socket that speaks both"),
        pytest.param(1, "fe80::1%eth0", "fe80::1", id="with a scope"),
        pytest.param(1, None, "10.0.0.9", id="past the proxy"),
        pytest.param(1, "203.0.113.5, unknown", "10.0.0.9", id="a proxy that does not tell"),
        pytest.param(1, ",", "10.0.0.9", id="nothing"),
    ],
)
def test_the_address_is_what_the_outermost_proxy_of_ours_saw(
    settings: Any, proxies: int, forwarded: str | None, address: str
) -> None:
    settings.TRUSTED_PROXIES = proxies
    said: Any = {"HTTP_X_FORWARDED_FOR": forwarded} if forwarded is not None else {}

    assert client_address(RequestFactory().get("/", REMOTE_ADDR="10.0.0.9", **said)) == address


def test_who_comes_by_a_socket_without_an_address_has_the_one_of_nobody() -> None:
    assert client_address(RequestFactory().get("/", REMOTE_ADDR="")) == UNKNOWN
