"""Which process has which lanes of a follower: session locks of the database, which end with the process.

Each process is a member of the follower's group, by a lock of its own, and takes its fair share of the lanes. What a
dead one leaves, the others take at their next look.
"""

from __future__ import annotations

import random
import zlib

from config.runtime.database import session_connection
from ledger.events.stream import LANES

# A frozen process loses its lanes after so long.
IDLE_S_MAX = 10
# Members have numbers above the lanes; two that draw the same one are counted as one until the next look.
_MEMBERS = range(1 << 16, 1 << 30)

_COUNT = """
SELECT count(*)
FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 2 AND granted AND classid::bigint = %(group)s
    AND objid::bigint >= %(members)s
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class Lanes:
    """The lanes of a follower that this process has, on a connection of its own past any pooler.

    Its methods raise psycopg's errors when the session, and with it every lane, is gone.
    """

    def __init__(self, follower: str) -> None:
        # Two followers of the same number would only share their lanes' locks: slower, and as safe.
        self._group = zlib.crc32(follower.encode()) & 0x7FFF_FFFF
        self._connection = session_connection(idle_s_max=IDLE_S_MAX)
        self.owned: set[int] = set()
        while not self._try_lock(random.choice(_MEMBERS)):  # noqa: S311  (no secret)
            pass

    def look(self) -> set[int]:
        """Take what is free of a fair share, give back what is too much of one; return what is new."""
        row = self._connection.execute(_COUNT, {"group": self._group, "members": _MEMBERS.start}).fetchone()
        share = -(-LANES // max(1, row[0] if row else 1))
        for lane in sorted(self.owned)[share:]:
            self._connection.execute("SELECT pg_advisory_unlock(%s, %s)", [self._group, lane])
            self.owned.discard(lane)
        before = set(self.owned)
        # Not all in the same order, or members that look at once take turns at finding each lane taken.
        for lane in random.sample(range(LANES), LANES):
            if len(self.owned) >= share:
                break
            if lane not in self.owned and self._try_lock(lane):
                self.owned.add(lane)
        return self.owned - before

    def close(self) -> None:
        """Give all lanes back."""
        self.owned.clear()
        self._connection.close()

    def _try_lock(self, number: int) -> bool:
        row = self._connection.execute("SELECT pg_try_advisory_lock(%s, %s)", [self._group, number]).fetchone()
        return row is not None and bool(row[0])
