"""Where a transaction stands, told fast: process memory, Redis, database (spec 001, Status Tracker)."""

from ledger.status.shape import StatusShape, status_of
from ledger.status.tracker import announce, look_up, saw, saw_all

__all__ = ["StatusShape", "announce", "look_up", "saw", "saw_all", "status_of"]
