"""Deny first: an API operation that does not declare its scope is refused to everybody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage, Error, register
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from config.api.principal import NotForUsers, Principal
from config.api.refusals import Forbidden, Unauthenticated

if TYPE_CHECKING:  # DRF imports this module while it defines its views
    from rest_framework.views import APIView


# What whoever has a key or a token may do, whatever its scopes.
AUTHENTICATED = "authenticated"


class ScopeMissing(Forbidden):
    """The key or token lacks the scope that this operation needs."""

    code = "scope_missing"


class ScopeUndeclared(Forbidden):
    """This operation is open to nobody: it declares no scope."""

    code = "scope_undeclared"


class HasScope(BasePermission):
    """Let in whoever's `request.auth` holds the scope that the view's `required_scopes` names for the operation.

    `required_scopes` maps a viewset's action, or else an HTTP method in capitals, to one scope. An end user's token is
    let into the operations alone that the view's `open_to_users` names: these read what the user may see, and no more.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Return True, or raise.

        Raises:
            Unauthenticated: nobody is asking.
            NotForUsers: a user's token asks, and the operation is not open to users.
            ScopeUndeclared: the view names no scope for the operation.
            ScopeMissing: the caller lacks it.
        """
        if not isinstance(request.auth, Principal):
            raise Unauthenticated
        scope = scope_of(view, request.method or "")
        is_open = request.auth.user_id is None or is_open_to_users(view, request.method or "")
        if is_open and (scope == AUTHENTICATED or scope in request.auth.scopes):
            return True
        if request.method not in view.allowed_methods or (request.method == "OPTIONS" and view.metadata_class is None):
            return True  # no code of the view runs: DRF answers 405
        if scope is None:
            raise ScopeUndeclared
        if not is_open:
            raise NotForUsers
        raise ScopeMissing(f"This needs the scope {scope}.", scope=scope)


def is_open_to_users(view: APIView, method: str) -> bool:
    """Tell whether end users' tokens are let in."""
    return operation_of(view, method) in getattr(view, "open_to_users", ())


def scope_of(view: APIView, method: str) -> str | None:
    """Return the scope that `view` needs for its action, or for `method` where it has none."""
    scopes: dict[str, str] = getattr(view, "required_scopes", {})
    return scopes.get(operation_of(view, method))


def operation_of(view: APIView, method: str) -> str:
    """Return the name by which a view declares things of its operation: the action, or `method` where it has none."""
    return getattr(view, "action", None) or ("GET" if method == "HEAD" else method)


def undeclared_scopes(patterns: Sequence[URLPattern | URLResolver] | None = None) -> list[str]:
    """Return `module.View.operation` of every routed operation behind `HasScope` that names no scope."""
    routes = get_resolver().url_patterns if patterns is None else patterns
    return sorted({name for callback in _callbacks(routes) for name in _undeclared(callback)})


@register("security")
def every_operation_declares_its_scope(**_options: Any) -> list[CheckMessage]:
    """Django's system check."""
    return [
        Error(f"{name} declares no scope and is refused to everybody.", id="countinghouse.E001")
        for name in undeclared_scopes()
    ]


def _callbacks(routes: Sequence[URLPattern | URLResolver]) -> Iterator[Any]:
    for route in routes:
        if isinstance(route, URLResolver):
            yield from _callbacks(route.url_patterns)
        else:
            yield route.callback


def _undeclared(callback: Any) -> Iterator[str]:
    view = getattr(callback, "cls", None)
    if view is None or not any(issubclass(permission, HasScope) for permission in view.permission_classes):
        return
    actions: dict[str, str] | None = getattr(callback, "actions", None)
    operations = set(actions.values()) if actions else {m.upper() for m in view.http_method_names if hasattr(view, m)}
    declared = set((callback.initkwargs.get("required_scopes") or getattr(view, "required_scopes", {})).keys())
    for operation in operations - {"OPTIONS", "HEAD"} - declared:
        yield f"{view.__module__}.{view.__qualname__}.{operation}"
