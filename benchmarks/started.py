"""Runs a module of the benchmarks with Django set up: `python -m benchmarks.started MODULE ARGUMENT …`."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import django


def main() -> None:
    """Call `main` of the module that the first argument names; the others are in `sys.argv` still."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    import_module(sys.argv[1]).main()


if __name__ == "__main__":
    main()
