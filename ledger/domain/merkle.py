"""Hashes of the record: leaves, the Merkle tree of a block (RFC 6962, 2.1), and the chain of blocks. All are SHA-256.

The first byte keeps apart what is hashed: 0 a leaf, 1 two nodes, 2 a block. After that of a leaf or block comes the
version of its form, 1, and its fields, each as the length of its UTF-8 in bytes, a colon and itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import NamedTuple

LEAF, NODE, BLOCK = b"\x00\x01", b"\x01", b"\x02\x01"
# What the first block names in the place of the one before.
NO_HASH = bytes(32)
LEFT, RIGHT = "left", "right"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


BLOCK_FIELDS = (
    "number",
    "first_position",
    "last_position",
    "journal_count",
    "merkle_root",
    "previous_hash",
    "sealed_at_us",
)


class Step(NamedTuple):
    """What stands beside a node on the way from a leaf to the root, and on which side of it."""

    side: str
    hash: bytes


class Block(NamedTuple):
    """What a block says; its hash is over all of it."""

    number: int
    first_position: int
    last_position: int
    journal_count: int
    merkle_root: bytes
    previous_hash: bytes
    sealed_at: datetime


def packed(fields: Iterable[str]) -> bytes:
    """Return fields one after the other, each with its length before it: no other fields give the same bytes."""
    return b"".join(b"%d:%b" % (len(field), field) for field in (text.encode() for text in fields))


def unpacked(data: bytes) -> list[str]:
    """Return the fields that were packed."""
    fields, at = [], 0
    while at < len(data):
        begins = data.index(b":", at) + 1
        at = begins + int(data[at : begins - 1])
        fields.append(data[begins:at].decode())
    return fields


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf, of its packed fields."""
    return sha256(LEAF + data).digest()


def block_hash(block: Block) -> bytes:
    """Return the hash of a block."""
    return sha256(BLOCK + packed(block_fields(block))).digest()


def block_fields(block: Block) -> list[str]:
    """Return BLOCK_FIELDS as they are hashed: hashes in hexadecimal, the time in microseconds since 1970."""
    numbers = (block.number, block.first_position, block.last_position, block.journal_count)
    sealed_at_us = (block.sealed_at - _EPOCH) // timedelta(microseconds=1)
    return [*map(str, numbers), block.merkle_root.hex(), block.previous_hash.hex(), str(sealed_at_us)]


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over the hashes of one or more leaves."""
    nodes = leaves
    while len(nodes) > 1:
        nodes = _above(nodes)
    return nodes[0]


def audit_path(leaves: Sequence[bytes], index: int) -> list[Step]:
    """Return what leads from a leaf to the root, from below."""
    steps, nodes = [], leaves
    while len(nodes) > 1:
        beside = index ^ 1
        if beside < len(nodes):
            steps.append(Step(LEFT if beside < index else RIGHT, nodes[beside]))
        nodes, index = _above(nodes), index // 2
    return steps


def _above(nodes: Sequence[bytes]) -> list[bytes]:
    """Return the nodes above: of each two, and the last by itself where nothing is beside it."""
    pairs = zip(nodes[::2], nodes[1::2], strict=False)
    return [sha256(NODE + left + right).digest() for left, right in pairs] + list(nodes[len(nodes) & ~1 :])
