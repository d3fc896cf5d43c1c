"""Hand a dead letter to the handler of its consumer's kind, which config/subscriptions.py names.

A handler is a function of the letter; what it raises says that the message failed again. It runs in the database
transaction that resolves the letter: what it writes stands exactly when the letter is resolved. One that commits by
itself, since it calls services, or that talks to the network, is marked with `commits_itself` and runs outside of any
database transaction; it must bear to be called again for a message that it has handled, because the process may end
between its commit and the letter's. Either way no other replay of the letter runs meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django.conf import settings
from django.db import connection, transaction
from django.utils.module_loading import import_string

from config.runtime.logging import get_logger
from ledger.events.errors import ReplayUnhandled
from ledger.events.failures import failure_code, failure_text, storable
from ledger.events.models import TEXT_LENGTH_MAX, DeadLetter

Handler = Callable[[DeadLetter], None]
H = TypeVar("H", bound=Handler)

log = get_logger()


def commits_itself(handler: H) -> H:
    """Mark a handler that is to be called outside of a database transaction."""
    handler.commits_itself = True  # type: ignore[attr-defined]  # functions take attributes
    return handler


def is_handled(consumer: str) -> bool:
    """Tell whether the kind of a consumer has a handler."""
    return _kind(consumer) in settings.REPLAY_HANDLERS


def is_handled_apart(consumer: str) -> bool:
    """Tell whether the handler of a consumer's kind is one that commits by itself."""
    return is_handled(consumer) and getattr(_handler(consumer), "commits_itself", False)


def handle_again(letter: DeadLetter) -> str | None:
    """Have a letter's message handled; return why it failed again, None if it did not.

    Call inside a database transaction, unless the letter is handled apart.

    Raises:
        ReplayUnhandled: nobody handles the kind of its consumer.
    """
    if not is_handled(letter.consumer):
        raise ReplayUnhandled(f"Nobody handles {letter.kind} again.")
    try:
        if is_handled_apart(letter.consumer):
            _handler(letter.consumer)(letter)
        else:
            with transaction.atomic():
                _handler(letter.consumer)(letter)
                # Foreign keys are deferred: what breaks one is to fail here, and not at our commit.
                connection.check_constraints()
    except Exception as error:  # noqa: BLE001  (whatever it is, the letter stays open and tells it)
        log.warning("dead_letter.failed_again", dead_letter_id=str(letter.pk), code=failure_code(error))
        return storable(f"{failure_code(error)}: {failure_text(error)}", TEXT_LENGTH_MAX)
    return None


def _handler(consumer: str) -> Handler:
    handler: Handler = import_string(settings.REPLAY_HANDLERS[_kind(consumer)])
    return handler


def _kind(consumer: str) -> str:
    return consumer.partition(":")[0]
