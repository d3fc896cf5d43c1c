"""What a stack remembers between runs: its secrets and its ports."""

from __future__ import annotations

import dataclasses
import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from config.localstack.errors import StackError
from config.localstack.files import open_private
from config.localstack.postgres import ROLES


def _passwords() -> dict[str, str]:
    return {name: secrets.token_urlsafe(24) for name in (*ROLES, "valkey")}


@dataclass(slots=True, kw_only=True)
class State:
    """The content of `state.json`."""

    secret_key: str = field(default_factory=lambda: secrets.token_urlsafe(50))
    passwords: dict[str, str] = field(default_factory=_passwords)
    ports: dict[str, int] = field(default_factory=dict)


def load(directory: Path) -> State:
    """Return the state of the stack in `directory`, a new one for a new stack.

    Raises:
        StackError: the file is unreadable, or gone while the data it has the passwords of is there.
    """
    file = directory / "state.json"
    try:
        return State(**json.loads(file.read_text()))
    except FileNotFoundError:
        if any(directory.glob("postgresql-*")):
            raise StackError(
                f"{file} is gone, and with it the passwords: delete {directory} to start afresh."
            ) from None
        return State()
    except (TypeError, ValueError) as error:
        raise StackError(f"{file} is damaged ({error}): delete {directory} to start afresh.") from error


def save(directory: Path, state: State) -> None:
    """Replace the file in one step, readable by its owner alone."""
    draft = directory / "state.draft"
    with open_private(draft) as out:
        out.write(json.dumps(dataclasses.asdict(state), indent=2).encode())
    draft.replace(directory / "state.json")
