"""Asks operations of the service by their ids, and notes what the document says of each: request, answer, headers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any
from urllib.parse import urlencode

import jsonschema

from config.api.docs import document
from tests.people import Tenant

JSON, PROBLEM = "application/json", "application/problem+json"
NOT_MODIFIED = 304
_READ: dict[str, Callable[[str], Any]] = {"integer": int, "array": lambda text: text.split(",")}


class Teller:
    """One client's questions. `told` holds the first of each operation, `sent` the names of headers, by status."""

    def __init__(self, bank: Tenant) -> None:
        self.bank = bank
        self.told: dict[str, dict[str, Any]] = {}
        self.sent: dict[tuple[str, str], set[str]] = {}
        self.document: dict[str, Any] = json.loads(document("v2"))
        self.operations = {
            operation["operationId"]: (path, method, operation)
            for path, operations in self.document["paths"].items()
            for method, operation in operations.items()
        }
        self._keys = (f"key-{number}" for number in count(1))
        self._posts: list[tuple[str, str, bytes, dict[str, str]]] = []

    def ask(
        self,
        operation: str,
        *,
        of: str = "",
        body: Any = None,
        query: dict[str, str] | None = None,
        status: int = 0,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Ask, of one object or of none, and return the answer: a success of the lowest status, unless told otherwise.

        Both it and what is asked must have the documented forms.
        """
        path, method, described = self.operations[operation]
        url = re.sub(r"{\w+}", of, path) + (f"?{urlencode(query)}" if query else "")
        data = b"" if body is None else json.dumps(body).encode()
        sent = dict(headers or {})
        if method == "post":
            sent["Idempotency-Key"] = next(self._keys)
            self._posts.append((operation, url, data, sent))
        answer = self._send(operation, url, data, sent)
        expected = str(status or min(map(int, described["responses"])))
        assert str(answer.status_code) == expected, (operation, answer.content)
        if answer.status_code == NOT_MODIFIED:
            return None
        kind = answer.headers["Content-Type"].partition(";")[0]
        said = answer.content.decode() if kind not in {JSON, PROBLEM} else answer.json()
        self.check(self.response(operation, expected)["content"][kind], said)
        if kind != PROBLEM:
            if body is not None:
                self.check(described["requestBody"]["content"][JSON], body)
            self._note(operation, dict.fromkeys(re.findall(r"{(\w+)}", path), of) | (query or {}), body)
            self.told[operation]["answers"].setdefault(expected, {}).setdefault(kind, said)
        return said

    def response(self, operation: str, status: str) -> dict[str, Any]:
        """Return what the document says of an answer."""
        described: dict[str, Any] = self.operations[operation][2]["responses"][status]
        *_, name = described.get("$ref", "").split("/")
        return self.document["components"]["responses"][name] if name else described

    @contextmanager
    def repeated(self) -> Iterator[None]:
        """Ask with one key all the time."""
        keys, key = self._keys, next(self._keys)
        self._keys = iter(lambda: key, "")  # type: ignore[assignment]
        yield
        self._keys = keys

    def ask_again(self) -> None:
        """Send every POST once more, with its key."""
        for post in self._posts:
            self._send(*post)

    def _send(self, operation: str, url: str, data: bytes, headers: dict[str, str]) -> Any:
        method = self.operations[operation][1]
        answer = self.bank.http().generic(method.upper(), url, data=data, content_type=JSON, headers=headers)
        self.sent.setdefault((operation, str(answer.status_code)), set()).update(answer.headers)
        return answer

    def _note(self, operation: str, parameters: dict[str, str], body: Any) -> None:
        """Note the first request of an operation, as the document's schemas have it."""
        if operation in self.told:
            return
        schemas = {one["name"]: one["schema"] for one in self.operations[operation][2].get("parameters", ())}
        values = {name: _READ.get(schemas[name]["type"], str)(text) for name, text in parameters.items()}
        for name, value in values.items():
            self.check({"schema": schemas[name]}, value)
        self.told[operation] = {"parameters": values, "answers": {}} | ({} if body is None else {"body": body})

    def check(self, content: dict[str, Any], value: Any) -> None:
        """Raise if it is not of the documented form."""
        schema = content["schema"] | {"components": self.document["components"]}
        jsonschema.Draft202012Validator(schema).validate(value)
