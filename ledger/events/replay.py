"""Hand a dead letter to the handler of its consumer's kind, which config/subscriptions.py names.

A handler is `replay(letter: DeadLetter) -> None`; what it raises says that the message failed again. It runs in the
database transaction that resolves the letter: what it writes stands exactly when the letter is resolved. One that
commits by itself, since it calls services, is marked with `commits_itself`; it must bear to be called again for a
message that it has handled, because the process may end between its commit and the letter's. Either way the letter is
locked meanwhile: no other replay of it runs, and a handler that itself records a letter of this message waits in vain.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from django.conf import settings
from django.db import connection, transaction
from django.utils.module_loading import import_string

from config.runtime.database import release_connections
from config.runtime.logging import get_logger
from ledger.events.dead_letters import storable
from ledger.events.errors import ReplayUnhandled
from ledger.events.failures import failure_code, failure_text
from ledger.events.models import TEXT_LENGTH_MAX, DeadLetter

Handler = Callable[[DeadLetter], None]
H = TypeVar("H", bound=Handler)

log = get_logger()


def commits_itself(handler: H) -> H:
    """Mark a handler that opens database transactions of its own: it is called outside of ours."""
    handler.commits_itself = True  # type: ignore[attr-defined]  # functions take attributes
    return handler


def is_handled(consumer: str) -> bool:
    """Tell whether the kind of a consumer has a handler."""
    return consumer.partition(":")[0] in settings.REPLAY_HANDLERS


def replay(letter: DeadLetter) -> str | None:
    """Have a letter handled; return why it failed again, None if it did not.

    Call inside a database transaction that has locked the letter.

    Raises:
        ReplayUnhandled: nobody handles the kind of its consumer.
    """
    if not is_handled(letter.consumer):
        raise ReplayUnhandled(f"Nobody handles {letter.kind} again.")
    handler: Handler = import_string(settings.REPLAY_HANDLERS[letter.kind])
    try:
        if getattr(handler, "commits_itself", False):
            _apart(handler, letter)
        else:
            with transaction.atomic():
                handler(letter)
                # Foreign keys are deferred: what breaks one is to fail here, and not at our commit.
                connection.check_constraints()
    except Exception as error:  # noqa: BLE001  (whatever it is, the letter stays open and tells it)
        log.warning("dead_letter.failed_again", dead_letter_id=str(letter.pk), code=failure_code(error))
        return storable(f"{failure_code(error)}: {failure_text(error)}", TEXT_LENGTH_MAX)
    return None


def _apart(handler: Handler, letter: DeadLetter) -> None:
    """Call it in a thread, whose database connection is its own: ours holds the letter's lock."""

    def work() -> None:
        try:
            handler(letter)
        finally:
            release_connections()

    with ThreadPoolExecutor(1, thread_name_prefix="replay") as pool:
        pool.submit(copy_context().run, work).result()
