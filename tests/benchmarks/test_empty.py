"""The empty view that benchmarks compare with is served like the service itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASK = """
from io import BytesIO
from wsgiref.util import setup_testing_defaults
from config.wsgi import application

environ = {{"PATH_INFO": "{path}", "HTTP_HOST": "127.0.0.1", "HTTP_X_FORWARDED_PROTO": "https"}}
setup_testing_defaults(environ)
b"".join(application(environ, lambda status, headers, exc_info=None: print(status)))
"""


@pytest.mark.parametrize(
    ("settings", "path", "status"),
    [
        ("benchmarks.empty.settings", "/", "200 OK"),
        ("benchmarks.empty.behind", "/v2/empty", "401 Unauthorized"),
    ],
)
def test_the_empty_view_answers(settings: str, path: str, status: str) -> None:
    asked = subprocess.run(
        [sys.executable, "-c", ASK.format(path=path)],
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": settings, "LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert asked.stdout.strip() == status, asked.stderr
