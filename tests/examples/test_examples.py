"""The examples of the OpenAPI document are what the service answers, and it sends the headers that stand there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connections

from config.api.headers import SAFE
from ledger.clients import uses
from tests.examples.invented import blanked, invented
from tests.examples.story import tell
from tests.examples.told import Teller
from tests.people import Tenant

EXAMPLES = Path(__file__).parents[2] / "config" / "api" / "examples-v2.json"
# What HTTP says of every answer, and what keeps browsers from misusing it.
EVERYWHERE = {"Allow", "Content-Type", "Content-Length", "Vary", "Cache-Control", *SAFE}
CONFLICT = "409"


@pytest.fixture(scope="module")
def teller(django_db_setup: None, django_db_blocker: Any) -> Iterator[Teller]:
    """Who has asked everything there is to ask."""
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(uses, "_wake", lambda: None)
        patch.setattr(settings, "REPLAY_HANDLERS", {"inbound": "tests.ledger.replaying.outside"})
        yield tell(Tenant.new(), patch)
        connections.close_all()


def test_the_examples_are_what_the_service_answers(teller: Teller, tmp_path: Path) -> None:
    told = json.dumps(teller.told, indent=1, ensure_ascii=False).replace(teller.bank.client.name, "My shop") + "\n"
    recorded = tmp_path / EXAMPLES.name
    recorded.write_text(invented(told))

    assert blanked(EXAMPLES.read_text()) == blanked(told), f"cp {recorded} {EXAMPLES}"


def test_every_operation_and_every_success_has_an_example(teller: Teller) -> None:
    for name, (_, _, operation) in teller.operations.items():
        for status, response in operation["responses"].items():
            if status < "300":
                assert all("example" in content for content in response["content"].values()), (name, status)
        for content in operation.get("requestBody", {}).get("content", {}).values():
            assert "example" in content, name


def test_every_header_that_is_sent_is_documented(teller: Teller) -> None:
    undocumented = {
        answered: names - EVERYWHERE - teller.response(*answered).get("headers", {}).keys()
        for answered, names in teller.sent.items()
    }

    assert {answered: names for answered, names in undocumented.items() if names} == {}


def test_every_documented_header_is_sent(teller: Teller) -> None:
    sent: dict[str, set[str]] = {}
    for (name, status), names in teller.sent.items():
        # A refusal is documented once, for all operations.
        sent.setdefault(status if status >= "400" else f"{name} {status}", set()).update(names)

    for name, status in teller.sent:
        documented = teller.response(name, status)["headers"].keys()
        if status == CONFLICT:
            documented -= {"Retry-After"}  # two requests with one key at the same time
        assert documented <= sent[status if status >= "400" else f"{name} {status}"], (name, status)


def test_every_problem_has_an_example_of_its_form(teller: Teller) -> None:
    responses = teller.document["components"]["responses"]
    shown = [
        (example["value"], int(name.removeprefix("Problem")), code)
        for name, response in responses.items()
        if name.startswith("Problem")
        for code, example in response["content"]["application/problem+json"]["examples"].items()
    ]

    assert len(shown) > 150
    for value, status, code in shown:
        assert (value["status"], value["code"]) == (status, code)
        teller.check(responses[f"Problem{status}"]["content"]["application/problem+json"], value)
