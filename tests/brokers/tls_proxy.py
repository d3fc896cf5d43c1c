"""TLS before a server that is built without it: what comes is passed on in plain, by a process of its own."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from contextlib import suppress
from typing import Self

from config.localstack.ports import HOST
from tests.brokers.certificates import Certificate


class TlsProxy:
    """`with` listens on `port`."""

    def __init__(self, behind: int, certificate: Certificate) -> None:
        arguments = [str(behind), str(certificate.server), str(certificate.key)]
        self._program = [sys.executable, "-m", __spec__.name, *arguments]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._program, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


async def main(behind: int, certificate: str, key: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(HOST, behind)
        await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))

    server = await asyncio.start_server(serve, HOST, 0, ssl=context)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), *sys.argv[2:4]))
