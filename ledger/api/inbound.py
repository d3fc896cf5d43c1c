"""The door for messages: what stands in a topic is asked of the same service as what comes over HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from config.api.decoding import decode
from config.api.idempotency import fingerprint
from config.api.json import parse_strict
from config.runtime.clock import now
from config.runtime.errors import DomainError, Kind
from ledger.api.v2.bodies import TransactionIn, submission_of
from ledger.api.v2.transactions import OPERATION
from ledger.events.in_hand import Binding, Note
from ledger.events.inbound import Inbound
from ledger.queries.transactions import has_failed
from ledger.services.submissions import Submission
from ledger.services.transactions import Result, submit_with

# What failed under a message's own key stays so: its replay, of which only a success is stored, has another. No id of a
# message and no Idempotency-Key has a space.
REPLAYED = " replayed"


def execute(binding: Binding, events: Sequence[Inbound], note: Note) -> None:
    """Book messages whose data are bodies of `POST /v2/transactions`, under the keys `source:id`; a Handler.

    What the books refuse is stored as failed under its key, and noted; what is malformed is noted alone.

    Raises:
        DomainError: of kind BUSY, for one of them; nothing was booked, and another attempt may go better.
    """
    refusals, submissions = dict[int, DomainError](), dict[int, Submission]()
    for index, event in enumerate(events):
        try:
            submissions[index] = _submission(binding, event)
        except DomainError as refusal:
            refusals[index] = refusal

    def alongside(results: Sequence[Result]) -> None:
        for index, result in zip(submissions, results, strict=True):
            refusal = result if isinstance(result, DomainError) else None if result.replayed else result.failure
            if refusal is not None and refusal.kind is Kind.BUSY:
                raise refusal
            if refusal is not None:
                refusals[index] = refusal
        note(refusals)

    submit_with(
        alongside,
        client_id=binding.client_id,
        submissions=list(submissions.values()),
        traces=[events[index].trace for index in submissions],
        actor=binding.consumer,
        now=now(),
    )


def _submission(binding: Binding, event: Inbound) -> Submission:
    data = parse_strict(event.data)
    key = f"{binding.source}:{event.id}"
    if event.is_replay and has_failed(binding.client_id, key):
        key += REPLAYED
    return submission_of(decode(data, TransactionIn), key=key, request_hash=fingerprint(OPERATION, data))
