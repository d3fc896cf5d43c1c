"""What the service itself measures, declared in one place, and the exposition of everything measured.

`config.api.metrics` adds what HTTP measures.

With PROMETHEUS_MULTIPROC_DIR the processes of a role share a directory, and the directories of all roles lie side by
side (`…/web`, `…/worker`): any process can then show the numbers of all. Without it each process shows its own.
Labels are bounded sets: never a client, an account or an id.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from config.runtime.slots import Slots, drop_dead

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
ROLES = ("web", "worker", "schedule", "relay", "consumer", "command")

# Read here, not from the settings: the kind of storage is chosen when the first metric below is made.
_shared = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
DIRECTORY = Path(_shared).absolute() if _shared else None
values.ValueClass = (
    values.MultiProcessValue(Slots(DIRECTORY).mine)  # type: ignore[no-untyped-call]  # untyped in its package
    if DIRECTORY
    else values.MutexValue
)

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2, 5, 10, 30)
QUERY_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 5, 30)
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

# Money (spec 001, Monitoring).
TRANSACTIONS = Counter("transactions_total", "Transactions by type and outcome.", ["type", "outcome"])
TRANSACTIONS_DURATION = Histogram(
    "transactions_duration_seconds", "From acceptance to the outcome.", ["type"], buckets=SECONDS
)
TRANSACTIONS_FAILED = Counter("transactions_failed_total", "Failed transactions by error code.", ["code"])
TRANSACTIONS_QUEUE_SIZE = Gauge(
    "transactions_queue_size",
    "Accepted transactions that are due, counted no further than one beyond the queue's size.",
    multiprocess_mode="livemostrecent",
)
TRANSACTIONS_REFUSED = Counter("transactions_refused_total", "Transactions that a full queue refused.")
POSTING_CONFLICTS = Counter(
    "posting_conflicts_total", "Rounds that were repeated: deadlock, serialization, or a key taken.", ["reason"]
)
POSTING_LOCK_WAIT = Histogram(
    "posting_lock_wait_seconds", "From asking for the balances of a round to having them.", buckets=SECONDS
)
POSTING_RETRIES = Counter("posting_retries_total", "Attempts that failed and may be mended by another.", ["code"])
RECEIPT_BATCH_SIZE = Histogram("receipt_batch_size", "Intents that shared one commit.", buckets=SIZES)
RECEIPT_BATCH_LATENCY = Histogram("receipt_batch_latency", "Seconds of such a commit.", buckets=SECONDS)

RECORD_BLOCK = Gauge("record_block", "Number of the last block of the record.", multiprocess_mode="livemostrecent")
RECORD_JOURNALS = Counter("record_journals_total", "Journals that were sealed.")
FOLDED_BLOCK = Gauge(
    "folded_block",
    "Number of the last block of the record whose back-dated bookings are summed up.",
    multiprocess_mode="livemostrecent",
)

# Where transactions stand. The rate over any time is that of the counter: 1 - rate(…{source="database"}) / rate(…).
STATUS_LOOKUPS = Counter("status_tracker_lookups_total", "Look-ups of statuses by what answered.", ["source"])
STATUS_CACHE_HIT_RATE = Gauge(
    "status_tracker_cache_hit_rate",
    "Share of the last 1,000 look-ups that memory or Redis answered, 0 to 1, of the process that was asked last.",
    multiprocess_mode="livemostrecent",
)
STATUS_CACHE_SIZE = Gauge(
    "status_tracker_cache_size", "Statuses in the memory of the processes.", multiprocess_mode="livesum"
)

# What is shown again without being read again. Of all reads: those past it, and those that are misses, count as none.
CACHE_READS = Counter(
    "cache_reads_total",
    "Reads of cached answers: hit, miss, or past the cache where Redis, another filler or a failed bump is in the way.",
    ["cache", "outcome"],
)
CACHE_HIT_RATIO = Gauge(
    "cache_hit_ratio",
    "Share of hits of the last 1,000 reads, 0 to 1, of the process that was asked last.",
    ["cache"],
    multiprocess_mode="livemostrecent",
)
CACHE_BUMPS_FAILED = Counter(
    "cache_bumps_failed_total", "Bumps that Redis did not take; until they are made up for, the process reads past it."
)

# Workers and the schedule.
WORKER_POOL_UTILIZATION = Gauge(
    "worker_pool_utilization", "Share of busy threads, 0 to 1, of the busiest worker.", multiprocess_mode="livemax"
)
WORKER_PROCESSING_DURATION = Histogram(
    "worker_processing_duration", "Seconds of a message.", ["actor", "outcome"], buckets=SECONDS
)
JOB_DURATION = Histogram("job_duration_seconds", "Seconds of a periodic job.", ["job", "outcome"], buckets=SECONDS)

# What happened, and who has been told. A follower is a listener or a transport, a consumer that or an inbound topic.
EVENTS_TAKEN = Counter("events_taken_total", "Events that a follower has taken.", ["follower"])
EVENTS_LATENCY = Histogram(
    "events_latency_seconds", "From an event's commit to a follower's having taken it.", ["follower"], buckets=SECONDS
)
EVENTS_DUPLICATE = Counter(
    "events_duplicate_total", "Events that were told again and had no second effect.", ["consumer"]
)
EVENTS_AWAY = Counter("events_away_total", "How often a follower's broker, or the database, was away.", ["follower"])
EVENTS_LAG = Gauge(
    "events_lag", "Events that a follower has not taken.", ["follower"], multiprocess_mode="livemostrecent"
)
EVENTS_OLDEST_AGE = Gauge(
    "events_oldest_age_seconds",
    "Age of the oldest event that a follower has not taken; 0 when it has all.",
    ["follower"],
    multiprocess_mode="livemostrecent",
)
EVENTS_UNNUMBERED_AGE = Gauge(
    "events_unnumbered_age_seconds",
    "Age of the oldest event that has no position, so that no follower is behind it yet; 0 when all have one.",
    multiprocess_mode="livemostrecent",
)
EVENTS_PARKED = Gauge(
    "events_parked",
    "Events that wait behind one that a listener could not take.",
    ["follower"],
    multiprocess_mode="livemostrecent",
)

INBOUND_MESSAGES = Counter(
    "inbound_messages_total", "Messages of inbound topics: done, duplicate, own, retried or dead.", ["topic", "outcome"]
)
INBOUND_PARKED = Gauge(
    "inbound_parked",
    "Messages of an inbound topic that wait for another attempt, or behind one of their key that does.",
    ["topic"],
    multiprocess_mode="livemostrecent",
)

# Dead letters.
DEAD_LETTERS_OPEN = Gauge(
    "dead_letters_open",
    "Dead letters that are neither replayed nor discarded, counted no further than 10,001 of each consumer.",
    ["consumer"],
    multiprocess_mode="livemostrecent",
)
DEAD_LETTERS_RECORDED = Counter(
    "dead_letters_recorded_total", "Messages that became dead letters.", ["consumer", "code"]
)

# Quotas. What is asked of nobody is covered by a lease.
QUOTA_CHECKS = Counter("quota_checks_total", "Quotas asked of Redis, or decided in a process without it.", ["by"])
QUOTA_EXCEEDED = Counter("quota_exceeded_total", "Requests over their client's quota.", ["tier"])

# What they stand on.
BREAKER_STATE = Gauge("breaker_state", "0 closed, 1 half-open, 2 open.", ["name"], multiprocess_mode="livemax")
BREAKER_REJECTIONS = Counter("breaker_rejections_total", "Calls that an open breaker refused.", ["name"])
DB_POOL_SIZE = Gauge("db_pool_size", "Open database connections.", multiprocess_mode="livesum")
DB_POOL_AVAILABLE = Gauge("db_pool_available", "Open connections that nobody uses.", multiprocess_mode="livesum")
DB_POOL_WAITING = Gauge("db_pool_waiting", "Threads that wait for a connection.", multiprocess_mode="livesum")
DB_QUERY = Histogram("db_query_seconds", "Seconds of a statement by first keyword.", ["op"], buckets=QUERY_SECONDS)
LOG_LINES_DROPPED = Counter("log_lines_dropped_total", "Log lines that standard output did not take.")


class _Shared(Collector):
    """Merges the files of every role, of living processes and of dead ones."""

    def __init__(self, directories: Iterable[Path]) -> None:
        self._directories = directories

    def collect(self) -> Iterable[Metric]:
        files: list[str] = []
        for directory in self._directories:
            drop_dead(directory)
            files += [str(path) for path in directory.glob("*.db") if _is_filled(path)]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]  # untyped there
        return merged


def _is_filled(path: Path) -> bool:
    """Tell a file that can be read from one that was made, or deleted, this instant."""
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def directories_of(directory: Path) -> list[Path]:
    """Return the directories that are shown together with `directory`: those of all roles, if it is a role's."""
    if directory.name not in ROLES:
        return [directory]
    return [directory.parent / role for role in ROLES if (directory.parent / role).is_dir()]


def exposition() -> bytes:
    """Return the metrics in Prometheus' text format: of all processes if they share them, else of this one."""
    if DIRECTORY is None:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    registry.register(_Shared(directories_of(DIRECTORY)))
    return generate_latest(registry)
