"""What the documentation lists is what there is."""

from __future__ import annotations

import re
from pathlib import Path

from django.core.management import get_commands

from ledger.clients.scopes import ROLES, SCOPES

ROOT = Path(__file__).parents[2]
OURS = ("config", "ledger")


def test_every_command_is_documented_and_every_documented_command_exists() -> None:
    page = (ROOT / "docs" / "reference" / "commands.md").read_text().split("## Clients")[1]
    documented = set(re.findall(r"^\| `([a-z_]+)", page, flags=re.MULTILINE))

    ours = {name for name, app in get_commands().items() if str(app).split(".")[0] in OURS}

    assert documented == ours


def test_every_relative_link_of_the_documentation_leads_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text())]

    assert len(links) >= 5
    assert [f"{page.name}: {link}" for page, link in links if not (page.parent / link).exists()] == []


def test_every_scope_and_role_is_documented_as_it_is() -> None:
    page = (ROOT / "docs" / "how-to" / "keys-and-tokens.md").read_text()
    rows = re.findall(r"^\| `([a-z:]+)` \| (.+?) \| ([a-z, ]+) \|$", page, flags=re.MULTILINE)

    assert rows == [
        (scope, meaning, ", ".join(role for role, scopes in ROLES.items() if scope in scopes))
        for scope, meaning in SCOPES.items()
    ]
