"""OpenAPI documents that tell the whole truth: structs, problems, scopes and headers of every operation."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import msgspec
from drf_spectacular.drainage import set_override
from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ComponentIdentity, ResolvedComponent
from drf_spectacular.utils import OpenApiParameter

from config.api import filters, idempotency, pages, prefer
from config.api.permissions import AUTHENTICATED, HasScope, operation_of, scope_of
from config.api.problems import CONTENT_TYPE
from config.api.versions import V1

_REF = "#/components/schemas/{name}"
_SHAPE = re.compile(rb'(?<=[a-z])Shape"')
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_MEANINGS = {
    400: "Malformed: syntax, header or query parameter.",
    401: "No valid API key or token.",
    403: "The key lacks the scope.",
    404: "No such object.",
    406: "Accept names none of the types that are given.",
    409: "The state, funds or limits forbid it.",
    410: "What the cursor names is not kept any more.",
    411: "The body has no Content-Length.",
    412: "What stands there is not what If-Match names.",
    413: "The body is too large.",
    415: "The body is not application/json in UTF-8.",
    422: "A field of the body cannot be accepted.",
    429: "Over the quota.",
    500: "A mistake of ours.",
    503: "Busy or unavailable for a moment.",
}
# Which say when to ask again, and which a transaction or a batch may have been stored for, as failed.
_PATIENT = frozenset({409, 429, 503})
_STORED = frozenset({409, 422})
_UNKNOWN, _JUDGED = 401, 409
_ACCEPTED = 202
_PREFERRED = frozenset({201, 202})
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
RETRY_AFTER = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
ANSWER = {
    "Location": {
        "description": "Where the object is; of a refusal, what was stored of it as failed.",
        "schema": {"type": "string", "format": "uri-reference"},
        "example": "/v2/transactions/01a00000-0000-7000-8000-000000000000",
    },
    "Idempotent-Replayed": {
        "description": "The request was answered before, and nothing was done again.",
        "schema": {"type": "string", "const": "true"},
    },
    "Preference-Applied": {
        "description": "What was done of that which Prefer asks for (RFC 7240).",
        "schema": {"type": "string"},
        "example": "wait=5",
    },
    "Dry-Run": {
        "description": "Nothing of it was kept, as `dry_run` asks for.",
        "schema": {"type": "string", "const": "true"},
    },
    "WWW-Authenticate": {"description": "How to say who asks.", "schema": {"type": "string"}, "example": "Bearer"},
    "Retry-After": RETRY_AFTER,
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
HEADERS = {"X-Request-ID": REQUEST_ID, "ETag": ETAG, "Content-Location": CONTENT_LOCATION, **RATE_LIMIT, **ANSWER}
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
    return whole(msgspec.defstruct(f"{_name(row)}Page", members))


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
    filters, and those `uncounted` no `count`. Three map an action to statuses: `located` those that say where the
    object is, `tried` those of a dry run, and `refused` those of problems that not every operation of its method has.
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
        takes = {parameter["name"] for parameter in operation.get("parameters", ())}
        for status, response in operation["responses"].items():
            response["headers"] = _references(self._header_names(int(status), takes))
        if self.method == "GET":
            operation["responses"]["304"] = {"$ref": "#/components/responses/NotModified"}
        for status in self._problem_statuses():
            operation["responses"].setdefault(str(status), {"$ref": f"#/components/responses/Problem{status}"})
        operation["responses"] = dict(sorted(operation["responses"].items()))
        return operation

    def _says(self, attribute: str) -> bool:
        return operation_of(self.view, self.method) in getattr(self.view, attribute, ())

    def _statuses(self, attribute: str, default: Collection[int] = ()) -> Collection[int]:
        statuses: Mapping[str, Collection[int]] = getattr(self.view, attribute, {})
        return statuses.get(operation_of(self.view, self.method), default)

    def _header_names(self, status: int, takes: Collection[str]) -> Iterator[str]:
        """Yield the headers of an answer that is no problem, of an operation that takes these parameters."""
        yield from _common_headers(is_limited=self.get_auth() != [{}], is_ending=self.is_deprecated())
        if self.method == "GET":
            yield "ETag"
            return
        if self._says("conditional"):
            yield from ("ETag", "Content-Location")
        if status in self._statuses("located"):
            yield "Location"
        # Where something is made, an answer that does not say where has kept nothing.
        if status in self._statuses("located", default=(status,)):
            yield "Idempotent-Replayed"
        if "Prefer" in takes and status in _PREFERRED:
            yield "Preference-Applied"
        if status in self._statuses("tried"):
            yield "Dry-Run"
        if status == _ACCEPTED:
            yield "Retry-After"

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
        yield from (400, 406, 429, 500, 503)
        yield from self._statuses("refused")
        if self.get_auth() != [{}]:
            yield from (401, 403)
        if "{" in self.path:
            yield 404
        if self.method == "GET" or self._says("conditional"):
            yield 412
        if self.method in _WITH_BODY:
            yield from (409, 411, 413, 415, 422)


class StructExtension(OpenApiSerializerExtension):
    """Lets `extend_schema` take msgspec structs."""

    target_class = "msgspec.Struct"
    match_subclasses = True

    def get_name(self, auto_schema: AutoSchema, direction: str) -> str:  # noqa: ARG002
        """Name the component like what the struct is the shape of."""
        return _name(self.target)

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
    components.setdefault("headers", {}).update(HEADERS)
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    components["responses"] = {f"Problem{status}": _response(status) for status in _MEANINGS}
    components["responses"]["NotModified"] = NOT_MODIFIED
    if is_ending:
        components["headers"].update(ENDING)
        components["responses"] = {
            name: response | {"headers": response["headers"] | _references(ENDING)}
            for name, response in components["responses"].items()
        }
    return result


def add_examples(document: dict[str, Any], examples: Mapping[str, Mapping[str, Any]]) -> None:
    """Show of each operation, by its id, what was asked of it once and, by status, what it answered."""
    for operation in _operations(document):
        example = examples.get(operation["operationId"], {"answers": {}})
        for parameter in operation.get("parameters", ()):
            if parameter["name"] in example.get("parameters", {}):
                parameter["example"] = example["parameters"][parameter["name"]]
        if "body" in example:
            operation["requestBody"]["content"]["application/json"]["example"] = example["body"]
        for status, answers in example["answers"].items():
            for media_type, answer in answers.items():
                operation["responses"][status]["content"][media_type]["example"] = answer


def name_codes(document: dict[str, Any], problems: Iterable[Mapping[str, Any]]) -> None:
    """Say of each response that is a problem which codes it may have, and show each: of `problems`, its status's."""
    by_status: dict[int, dict[str, Any]] = {}
    for problem in problems:
        by_status.setdefault(problem["status"], {})[problem["code"]] = {"value": problem}
    for status, examples in sorted(by_status.items()):
        name = f"Problem{status}"
        response = document["components"]["responses"].get(name)
        if response is not None:
            codes = {"type": "object", "properties": {"code": {"type": "string", "enum": sorted(examples)}}}
            document["components"]["schemas"][name] = {
                "description": _MEANINGS[status],
                "allOf": [{"$ref": _REF.format(name="Problem")}, codes],
            }
            response["content"][CONTENT_TYPE] = {
                "schema": {"$ref": _REF.format(name=name)},
                "examples": dict(sorted(examples.items())),
            }


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for operations in document["paths"].values():
        yield from operations.values()


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
    _, components = msgspec.json.schema_components((struct,), ref_template=_REF)
    named: dict[str, Any] = msgspec.json.decode(_SHAPE.sub(rb'"', msgspec.json.encode(components)))
    return named.pop(_name(struct)), named


def _name(struct: type[msgspec.Struct]) -> str:
    """Return the name by which clients know it: those of `AccountShape` have an `Account`."""
    return struct.__name__.removesuffix("Shape")


def _common_headers(*, is_limited: bool, is_ending: bool = False) -> Iterator[str]:
    """Yield the headers of every answer, those of every answer to a client, and those of a version that ends."""
    yield "X-Request-ID"
    yield from RATE_LIMIT if is_limited else ()
    yield from ENDING if is_ending else ()


def _references(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _response(status: int) -> dict[str, Any]:
    names = [*_common_headers(is_limited=status != _UNKNOWN)]
    if status == _UNKNOWN:
        names += ["WWW-Authenticate"]
    if status in _PATIENT:
        names += ["Retry-After"]
    if status in _STORED:
        names += ["Location", "Idempotent-Replayed"]
    if status == _JUDGED:
        names += ["Preference-Applied"]
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": _MEANINGS[status], "headers": _references(names), "content": content}
