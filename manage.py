#!/usr/bin/env python3
"""Django's commands, and `up`. `python3 dev.py manage …` runs them on the local stack."""

from __future__ import annotations

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main(arguments: list[str]) -> int:
    if arguments[1:2] == ["up"]:
        # It makes the environment that the settings are read from.
        from config.localstack.__main__ import main as run_local_stack

        return run_local_stack(arguments[1:])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        execute_from_command_line(arguments)
    except ImproperlyConfigured as error:
        if os.environ.get("DATABASE_URL"):
            raise
        print(f"{error}\n\nOn the local stack: python3 dev.py manage {' '.join(arguments[1:])}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
