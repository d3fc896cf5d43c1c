"""OpenAPI documents that tell the whole truth: structs, problems, scopes and headers of every operation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import msgspec
from drf_spectacular.drainage import set_override
from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ComponentIdentity, ResolvedComponent
from drf_spectacular.utils import OpenApiParameter

from config.api import filters, idempotency, pages, prefer
from config.api.permissions import AUTHENTICATED, HasScope, scope_of
from config.api.problems import CONTENT_TYPE
from config.api.versions import V1

_REF = "#/components/schemas/{name}"
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_MEANINGS = {
    400: "Malformed: syntax, header or query parameter.",
    401: "No valid API key or token.",
    403: "The key lacks the scope.",
    404: "No such object.",
    406: "Accept names none of the types that are given.",
    409: "The state, funds or limits forbid it.",
    412: "What stands there is not what If-Match names.",
    413: "The body is too large.",
    415: "The body is not application/json in UTF-8.",
    422: "A field of the body cannot be accepted.",
    429: "Over the quota.",
    503: "Busy or unavailable for a moment.",
}
_PATIENT = frozenset({429, 503})
_UNKNOWN = 401
RATE_LIMIT = {
    "RateLimit-Policy": {
        "description": "The client's quota: at once, and in the long run (draft-ietf-httpapi-ratelimit-headers-11).",
        "schema": {"type": "string"},
        "example": '"burst";q=100;w=10, "minute";q=600;w=60',
    },
    "RateLimit": {
        "description": "What is left of the burst, and the seconds until all of it is; of a 429, until it may be.",
        "schema": {"type": "string"},
        "example": '"burst";r=99;t=1',
    },
}
REQUEST_ID = {"description": "Identifies this request in our logs.", "schema": {"type": "string"}, "required": True}
ETAG = {
    "description": "Names this answer, byte for byte; weak where it is compressed. `If-Match` takes it without `W/`.",
    "schema": {"type": "string"},
}
IF_MATCH = (
    "Do it only if the object stands as this ETag names it, or one of several with commas; `*` is any. A booking "
    "alters an account, too. A repetition with the same Idempotency-Key is answered whatever stands there."
)
COUNT = "Say how many rows there are on all pages, up to 10,000. For keys alone."
MEMBERS = "Those that hold these texts under these keys, each a parameter of its own, such as `metadata.order=7`."
CONTENT_LOCATION = {"description": "What the answer shows, and what its ETag names.", "schema": {"type": "string"}}
ENDING = {
    "Deprecation": {
        "description": "Since when this version is deprecated, in seconds of Unix time (RFC 9745).",
        "schema": {"type": "string"},
        "example": "@1796083200",
    },
    "Sunset": {
        "description": "When this version may be gone (RFC 8594).",
        "schema": {"type": "string"},
        "example": "Wed, 01 Dec 2027 00:00:00 GMT",
    },
    "Link": {
        "description": "The guide to the next version, and there this operation's successor.",
        "schema": {"type": "string"},
        "example": '</docs/migrate-v1-v2>; rel="deprecation", </v2/transactions>; rel="successor-version"',
    },
}
NOT_MODIFIED = {
    "description": "The client has it already.",
    "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in ("ETag", "X-Request-ID", *RATE_LIMIT)},
}
_KEY_PATTERN = r'^([\x21\x23-\x7e][\x21-\x7e]*|"([\x21\x23-\x5b\x5d-\x7e]|\\["\\])+")$'
IDEMPOTENCY_KEY = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": _KEY_PATTERN}


class FieldProblem(msgspec.Struct):
    """One place of the input that is wrong: a JSON pointer, or a parameter's name."""

    pointer: str
    code: str
    detail: str


class Problem(msgspec.Struct):
    """A failure (RFC 9457): `code` is stable, `type` leads to its explanation; some failures add members."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldProblem]
    request_id: str = ""


@cache
def page_of(row: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """Return the struct of a list answer whose rows are `row`: for `extend_schema(responses=…)`."""
    members: list[Any] = [
        ("data", list[row]),  # type: ignore[valid-type]  # a type made at run time
        ("next_cursor", str | None),
        ("prev_cursor", str | None),
        ("count", pages.Count | msgspec.UnsetType, msgspec.UNSET),
    ]
    return whole(msgspec.defstruct(f"{row.__name__}Page", members))


def whole(answer: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """Say of a struct that it is all of a list's answer: drf-spectacular would make a list of such answers of it."""
    set_override(answer, "many", False)
    return answer


def header(name: str, schema: dict[str, Any], *, required: bool = False, description: str = "") -> OpenApiParameter:
    """Return a request header for `extend_schema(parameters=…)`."""
    return OpenApiParameter(name, schema, OpenApiParameter.HEADER, required=required, description=description)


class Schema(AutoSchema):
    """Documents what the kit does around a view.

    A view says the rest: `required_scopes`, `idempotency_required`, `prefer_honoured` and `conditional` (sets of
    actions or methods), and, for lists, `paged` (likewise) with `filterset_class`; those `unfiltered` take none of its
    filters, and those `uncounted` no `count`.
    """

    def get_auth(self) -> list[dict[str, Any]]:
        """Require a bearer with the declared scope, or nothing on public operations."""
        if not any(isinstance(permission, HasScope) for permission in self.view.get_permissions()):
            return [{}]
        scope = scope_of(self.view, self.method)
        return [{"bearer": [scope] if scope and scope != AUTHENTICATED else []}]

    def get_override_parameters(self) -> list[Any]:
        """Add the headers and parameters that the kit reads."""
        return [*super().get_override_parameters(), *self._kit_parameters()]

    def is_deprecated(self) -> bool:
        """Say so of all of v1, whose answers tell when it ends."""
        return self.path.startswith(V1)

    def get_filter_backends(self) -> list[Any]:
        """Return none: filters are read from `filterset_class` where the operation is `paged`."""
        return []

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """Add problems and the request id to what drf-spectacular finds."""
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        headers = _headers(is_limited=self.get_auth() != [{}], is_ending=self.is_deprecated())
        for response in operation["responses"].values():
            response.setdefault("headers", {}).update(headers)
        if self.method == "GET":
            operation["responses"]["304"] = {"$ref": "#/components/responses/NotModified"}
            operation["responses"]["200"]["headers"]["ETag"] = {"$ref": "#/components/headers/ETag"}
        if self._says("conditional"):
            operation["responses"]["200"]["headers"].update(_named(["ETag", "Content-Location"]))
        for status in self._problem_statuses():
            operation["responses"].setdefault(str(status), {"$ref": f"#/components/responses/Problem{status}"})
        operation["responses"] = dict(sorted(operation["responses"].items()))
        return operation

    def _says(self, attribute: str) -> bool:
        operation = getattr(self.view, "action", None) or self.method
        return operation in getattr(self.view, attribute, ())

    def _kit_parameters(self) -> Iterator[OpenApiParameter]:
        if self.method == "POST":
            required = self._says("idempotency_required")
            yield header(idempotency.HEADER, IDEMPOTENCY_KEY, required=required, description="Makes repeating safe.")
        if self._says("conditional"):
            yield header("If-Match", {"type": "string"}, description=IF_MATCH)
        if self._says("prefer_honoured"):
            example = f"`wait=N` (1 to {prefer.WAIT_S_MAX} s, RFC 7240)."
            yield header("Prefer", {"type": "string"}, description=example)
        if self._says("paged"):
            limit = {"type": "integer", "minimum": 1, "maximum": pages.LIMIT_MAX, "default": pages.LIMIT_DEFAULT}
            yield OpenApiParameter("limit", limit)
            yield OpenApiParameter("cursor", {"type": "string", "maxLength": pages.CURSOR_BYTES_MAX})
            if not self._says("uncounted"):
                yield OpenApiParameter("count", bool, description=COUNT)
            yield from () if self._says("unfiltered") else self._filters()

    def _filters(self) -> Iterator[OpenApiParameter]:
        filterset = getattr(self.view, "filterset_class", None)
        if column := getattr(filterset, "contained", ""):
            yield OpenApiParameter(column, _members_schema(column), description=MEMBERS, style="form", explode=True)
        for name, declared in getattr(filterset, "base_filters", {}).items():
            schema = _filter_schema(declared)
            style: dict[str, Any] = {"style": "form", "explode": False} if schema["type"] == "array" else {}
            yield OpenApiParameter(name, schema, description=str(declared.extra.get("help_text", "")), **style)

    def _problem_statuses(self) -> Iterable[int]:
        yield from (400, 406, 429, 503)
        if self.get_auth() != [{}]:
            yield from (401, 403)
        if "{" in self.path:
            yield 404
        if self.method == "GET" or self._says("conditional"):
            yield 412
        if self.method in _WITH_BODY:
            yield from (409, 413, 415, 422)


class StructExtension(OpenApiSerializerExtension):
    """Lets `extend_schema` take msgspec structs."""

    target_class = "msgspec.Struct"
    match_subclasses = True

    def get_name(self, auto_schema: AutoSchema, direction: str) -> str:  # noqa: ARG002
        """Name the component like the struct."""
        return str(self.target.__name__)

    def get_identity(self, auto_schema: AutoSchema, direction: str) -> ComponentIdentity:  # noqa: ARG002
        """Take structs of one name for one component only if they look alike; else drf-spectacular warns."""
        return ComponentIdentity(str(_schemas(self.target)[0]))

    def map_serializer(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:  # noqa: ARG002
        """Return the struct's schema, and register those it refers to."""
        own, components = _schemas(self.target)
        for name, schema in components.items():
            component = ResolvedComponent(
                name, ResolvedComponent.SCHEMA, schema=schema, object=ComponentIdentity(str(schema))
            )
            auto_schema.registry.register_on_missing(component)
        return own


def add_problems(result: dict[str, Any], generator: Any, **_options: Any) -> dict[str, Any]:
    """Post-processing hook: the components that `Schema` refers to."""
    components, is_ending = result["components"], generator.api_version == "v1"
    own, others = _schemas(Problem)
    components.setdefault("schemas", {}).update({"Problem": own, **others})
    components.setdefault("headers", {}).update(
        {"X-Request-ID": REQUEST_ID, "ETag": ETAG, "Content-Location": CONTENT_LOCATION, **RATE_LIMIT}
    )
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    components["responses"] = {f"Problem{status}": _response(status) for status in _MEANINGS}
    components["responses"]["NotModified"] = NOT_MODIFIED
    if is_ending:
        components["headers"].update(ENDING)
        components["responses"] = {
            name: response | {"headers": response["headers"] | _named(ENDING)}
            for name, response in components["responses"].items()
        }
    return result


def name_codes(document: dict[str, Any], errors: Iterable[Mapping[str, Any]]) -> None:
    """Say of each response that is a problem which codes it may have: of `errors`, those of its status."""
    by_status: dict[int, list[str]] = {}
    for error in errors:
        by_status.setdefault(error["status"], []).append(error["code"])
    for status, codes in by_status.items():
        response = document["components"]["responses"].get(f"Problem{status}")
        if response is not None:
            schema = response["content"][CONTENT_TYPE]["schema"]
            narrowed = {"type": "object", "properties": {"code": {"type": "string", "enum": sorted(codes)}}}
            response["content"][CONTENT_TYPE]["schema"] = {"allOf": [schema, narrowed]}


def _filter_schema(declared: Any) -> dict[str, Any]:
    """Return a filter's schema: its field's own, with the choices that it checks."""
    schema = dict(getattr(declared.field_class, "openapi", {"type": "string", "minLength": 1}))
    if "max_length" in declared.extra:
        schema["maxLength"] = declared.extra["max_length"]
    choices = [choice[0] if isinstance(choice, tuple) else choice for choice in declared.extra.get("choices", ())]
    if choices and schema["type"] == "array":
        schema["items"] = {"type": "string", "enum": choices}
    elif choices:
        schema["enum"] = choices
    return schema


def _members_schema(column: str) -> dict[str, Any]:
    """Return the schema of an object that a URL shows as one parameter for each of its members."""
    return {
        "type": "object",
        "propertyNames": {"pattern": f"^{column}\\.{filters.MEMBER_KEY}$"},
        "additionalProperties": {"type": "string", "minLength": 1, "maxLength": filters.MEMBER_LENGTH_MAX},
        "maxProperties": filters.MEMBERS_MAX,
    }


def _schemas(struct: type[msgspec.Struct]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schema of `struct` and, by name, of every struct it refers to."""
    (_,), components = msgspec.json.schema_components((struct,), ref_template=_REF)
    return components.pop(struct.__name__), components


def _headers(*, is_limited: bool, is_ending: bool = False) -> dict[str, Any]:
    """Return the headers of every answer, those of every answer to a client, and those of a version that ends."""
    return _named(["X-Request-ID", *(RATE_LIMIT if is_limited else ()), *(ENDING if is_ending else ())])


def _named(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _response(status: int) -> dict[str, Any]:
    headers = _headers(is_limited=status != _UNKNOWN)
    if status in _PATIENT:
        headers["Retry-After"] = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": _MEANINGS[status], "headers": headers, "content": content}
