"""The settings of a web server that is killed after the commit and before the answer, where a request says so."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from config.settings import *  # noqa: F403
from config.settings import MIDDLEWARE

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

MIDDLEWARE = ["tests.acceptance.dying.die_unheard", *MIDDLEWARE]


def die_unheard(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if "X-Die-Unheard" in request.headers:
            os.killpg(os.getpgrp(), signal.SIGKILL)
        return response

    return answer
