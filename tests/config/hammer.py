"""A process that asks one quota as fast as 16 threads can, and tells what came of it.

`python -m tests.config.hammer ORDER` says that it is ready, and reads the time of day at which to begin. Its clocks run
`speed` times as fast as time.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

from prometheus_client import REGISTRY
from redis import Redis

from config.runtime.quota.bucket import Quota
from config.runtime.quota.limiter import Limiter
from config.runtime.quota.store import Store

THREADS = 16


def main(order: dict[str, Any]) -> None:
    def clock() -> int:
        return int(time.time() * 1e6 * order["speed"])

    # One that waits, however busy the machine is.
    redis = Redis.from_url(order["url"], protocol=2)
    limiter = Limiter(Store(redis), clock=clock, server_clock=clock)
    client, quota = UUID(order["client"]), Quota(*order["quota"])
    tell("ready")
    begin = float(sys.stdin.readline())

    def ask(_: int) -> tuple[int, int]:
        asked = passed = 0
        time.sleep(max(0.0, begin - time.time()))
        while time.time() < begin + order["lasting_s"]:
            asked, passed = asked + 1, passed + limiter.take(client, quota).is_allowed
        return asked, passed

    with ThreadPoolExecutor(THREADS) as pool:
        counts = list(pool.map(ask, range(THREADS)))
    by = {name: REGISTRY.get_sample_value("quota_checks_total", {"by": name}) or 0 for name in ("redis", "process")}
    found = {"asked": sum(asked for asked, _ in counts), "passed": sum(passed for _, passed in counts)}
    tell(json.dumps(found | by | {"ended": time.time()}))


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
