"""The page that tells of every type of event, made from the catalogue: docs/reference/events.md."""

from __future__ import annotations

import json
from inspect import cleandoc, getdoc
from typing import Any

import msgspec

from ledger.events.catalogue import CATALOGUE, Attributes, Told
from ledger.events.types import EventType

HEAD = """# Events

<!-- Made by `python3 dev.py manage describe_events > docs/reference/events.md`; a test compares them. -->

Every change that somebody outside can act on is told: by `GET /v2/events`, and where `EVENTS_URL` names brokers by
messages ([how-to](../how-to/brokers.md)). What is promised of them stands in
[consistency](../explanation/consistency.md).

A message is a [CloudEvent 1.0](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md) in JSON, structured
mode:

```json
{example}
```

{attributes}

`GET /v2/events` shows the same under fewer names: `id`, `type`, `position`, `key` (the `partitionkey`), `sequence` (a
number), `occurred_at` (the `time`) and `data`.

A type keeps its name. Its version, the last part of `dataschema`, grows when something that was there goes or changes
its meaning; fields may be added at any time, so pass over those that you do not know.

## Types

| type | version | data | it tells that |
|---|---|---|---|
{rows}

## Schemas

The `data` of each type as JSON Schema (2020-12), and what they refer to.
"""
EXAMPLE = {
    "specversion": "1.0",
    "id": "01a1ffc1-a407-700a-8f24-66dfcc3be15f",
    "source": "/countinghouse/clients/01a1ff00-0000-7000-8000-000000000001",
    "type": "transaction.completed",
    "time": "2026-11-21T20:17:22.954276Z",
    "subject": "01a1ff9b-7c54-7000-8000-0000000000aa",
    "datacontenttype": "application/json",
    "dataschema": "urn:countinghouse:event:transaction.completed:1",
    "partitionkey": "01a1ff9b-7c54-7000-8000-0000000000aa",
    "sequence": "00000000000000000042",
    "position": 1204,
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "data": {"id": "01a1ffc1-a400-7a69-9254-6c8c5a9946af", "status": "completed", "…": "…"},
}


def describe_events() -> str:
    """Return the page in Markdown."""
    kinds = [_data_of(told) for told in CATALOGUE.values()]
    schemas = _schemas(list(dict.fromkeys(kinds)))
    rows = [_row(event_type, told) for event_type, told in CATALOGUE.items()]
    head = HEAD.format(
        example=json.dumps(EXAMPLE, indent=2, ensure_ascii=False),
        attributes=cleandoc(getdoc(Attributes) or "").partition("\n\n")[2],
        rows="\n".join(rows),
    )
    parts = [f"### {name}\n\n```json\n{json.dumps(schema, indent=2)}\n```\n" for name, schema in schemas.items()]
    return head + "\n" + "\n".join(parts)


def schema_of_data(event_type: EventType) -> dict[str, Any]:
    """Return the JSON Schema of a type's data, whole."""
    return msgspec.json.schema(_data_of(CATALOGUE[event_type]))


def _row(event_type: EventType, told: type[Told]) -> str:
    data = _data_of(told).__name__
    meaning = " ".join(cleandoc(getdoc(told) or "").split())
    return f"| `{event_type.value}` | {told.version} | [{data}](#{data.lower()}) | {meaning} |"


def _data_of(told: type[Told]) -> type[Any]:
    data: type[Any] = next(field.type for field in msgspec.structs.fields(told) if field.name == "data")
    return data


def _schemas(kinds: list[type[Any]]) -> dict[str, Any]:
    _, components = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    return dict(sorted(components.items()))
