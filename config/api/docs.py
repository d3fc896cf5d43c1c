"""The documents for people and generators: OpenAPI, its pages, and the list of every error. Nothing leaves the host."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from functools import cache
from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import get_resolver, reverse
from django.utils.cache import patch_cache_control
from django.utils.module_loading import autodiscover_modules, import_string
from django.views.decorators.http import condition, require_safe
from drf_spectacular.generators import SchemaGenerator

from config.api.decoding import FIELD_CODES
from config.api.encoding import encode
from config.api.filters import PARAMETER_CODES
from config.api.openapi import add_examples, name_codes
from config.api.problems import problem_document, status_of
from config.runtime.errors import DomainError, Invalid

# Redoc fetches a logo from its vendor's network, Swagger UI a badge: the policy keeps both pages at home.
_POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
# What a test has asked and been answered (tests/examples); it says how to record it anew.
_EXAMPLES = Path(__file__).parent
_REQUEST_ID = "019cad97180074008000000000000001"


@cache
def document(version: str) -> bytes:
    """Return the OpenAPI document of one API version: made once in a process, it changes only with the code."""
    result = SchemaGenerator(api_version=version).get_schema(public=True)
    result["info"]["version"] = f"{version.removeprefix('v')}.0.0"
    if (examples := _EXAMPLES / f"examples-{version}.json").exists():
        add_examples(result, msgspec.json.decode(examples.read_bytes()))
    fields = [Invalid.at("/amount", code, meaning) for code, meaning in FIELD_CODES.items()]
    name_codes(result, [problem_document(error, request_id=_REQUEST_ID) for error in (*_errors(), *fields)])
    return encode(result)


def described(version: str) -> str:
    """Return the same for people and for comparing: indented, ended by a line's end."""
    return msgspec.json.format(document(version), indent=2).decode() + "\n"


def _etag(_request: HttpRequest, version: str) -> str:
    return f'"{hashlib.sha256(document(version)).hexdigest()[:32]}"'


@require_safe
@condition(etag_func=_etag)
def schema(_request: HttpRequest, version: str) -> HttpResponse:
    """Answer the OpenAPI document as JSON."""
    response = HttpResponse(document(version), content_type="application/json")
    patch_cache_control(response, public=True, no_cache=True)
    return response


@require_safe
def swagger(request: HttpRequest, version: str) -> HttpResponse:
    """Show the document with Swagger UI."""
    return _page(request, "docs/swagger.html", {"schema_url": reverse(f"{version}:schema"), "version": version})


@require_safe
def redoc(request: HttpRequest, version: str) -> HttpResponse:
    """Show the document with Redoc."""
    return _page(request, "docs/redoc.html", {"schema_url": reverse(f"{version}:schema"), "version": version})


@require_safe
def errors(request: HttpRequest) -> HttpResponse:
    """List every error: where the `type` of a problem leads. As JSON for who prefers it."""
    listed = {"errors": known_errors(), "details": [*FIELD_CODES.items(), *PARAMETER_CODES.items()]}
    if request.get_preferred_type(["text/html", "application/json"]) == "application/json":
        return JsonResponse(listed)
    return _page(request, "docs/errors.html", listed)


@require_safe
def migration(_request: HttpRequest) -> HttpResponse:
    """Show how a client goes from v1 to v2: where every answer of v1 links to."""
    guide = settings.BASE_DIR / "docs" / "migrate-v1-v2.md"
    return HttpResponse(guide.read_bytes(), content_type="text/plain; charset=utf-8")


@cache
def known_errors() -> list[dict[str, Any]]:
    """Return code, kind, status and meaning of every error that a door may answer with, by code."""
    return [
        {
            "code": error.code,
            "kind": str(error.kind),
            "status": status_of(error),
            "meaning": cleandoc(error.__doc__ or ""),
        }
        for error in _errors()
    ]


def _errors() -> list[DomainError]:
    """Return one of each error, by code."""
    autodiscover_modules("errors")
    get_resolver().url_patterns  # noqa: B018  (imports every view, and with them the errors beside them)
    for middleware in settings.MIDDLEWARE:
        import_string(middleware)
    found = {error.code: error for error in _subclasses(DomainError)}
    return [_bare(error) for _, error in sorted(found.items())]


def _bare(error: type[DomainError]) -> DomainError:
    """Return one without what its constructor asks for."""
    one = error.__new__(error)
    DomainError.__init__(one)
    return one


def _subclasses(parent: type[DomainError]) -> Iterator[type[DomainError]]:
    for child in parent.__subclasses__():
        yield from _subclasses(child)
        if "code" in vars(child):
            yield child


def _page(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    nonce = secrets.token_urlsafe(16)
    response = render(request, template, context | {"nonce": nonce})
    response["Content-Security-Policy"] = _POLICY.format(nonce=nonce)
    return response
