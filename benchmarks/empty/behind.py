"""Our own settings, with the empty view in place of the API: behind all that is around it."""

from __future__ import annotations

from config.settings import *  # noqa: F403

ROOT_URLCONF = "benchmarks.empty.behind_urls"
