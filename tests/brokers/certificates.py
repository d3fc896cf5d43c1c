"""A certificate authority of the tests' own, and what it vouches for: the brokers on loopback."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from config.localstack.ports import HOST
from tests.brokers.server import BrokerMissing

NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]


class Certificate(NamedTuple):
    """Files in PEM: who vouches, what is vouched for, and its key."""

    authority: Path
    server: Path
    key: Path

    @classmethod
    def made(cls, directory: Path) -> Certificate:
        """Make an authority and have it vouch for loopback.

        Raises:
            BrokerMissing: there is no openssl.
        """
        openssl = shutil.which("openssl")
        if openssl is None:
            raise BrokerMissing("Brokers that speak TLS need openssl (Debian and Ubuntu: apt install openssl)")
        own = cls(directory / "authority.pem", directory / "server.pem", directory / "server.key")
        authority_key = directory / "authority.key"

        def make(name: str, certificate: Path, key: Path, *more: str | Path) -> None:
            asked = ["-subj", f"/CN={name}", "-keyout", str(key), "-out", str(certificate), *map(str, more)]
            subprocess.run([openssl, "req", "-x509", *NEW_KEY, *asked], check=True, capture_output=True)

        make("tests", own.authority, authority_key)
        by = ("-CA", own.authority, "-CAkey", authority_key)
        said = ("-addext", f"subjectAltName=IP:{HOST}", "-addext", "basicConstraints=critical,CA:FALSE")
        make(HOST, own.server, own.key, *by, *said)
        return own
