"""The hashes of the record: the trees of RFC 6962, the ways through them, and bytes that mean one thing only."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.merkle import LEFT, audit_path, merkle_root, packed, unpacked

# The test vectors of Certificate Transparency: leaves, and the roots over the first one, two, three …
VECTORS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def leaves(count: int) -> list[bytes]:
    return [sha256(f"leaf {number}".encode()).digest() for number in range(count)]


def by_definition(hashes: list[bytes]) -> bytes:
    """The root as RFC 6962, 2.1 defines it: split at the largest power of two below the length."""
    if len(hashes) == 1:
        return hashes[0]
    half = 1
    while 2 * half < len(hashes):
        half *= 2
    return sha256(b"\x01" + by_definition(hashes[:half]) + by_definition(hashes[half:])).digest()


@pytest.mark.parametrize("count", range(1, 9))
def test_roots_are_those_of_certificate_transparency(count: int) -> None:
    hashes = [sha256(b"\x00" + bytes.fromhex(vector)).digest() for vector in VECTORS[:count]]
    assert merkle_root(hashes).hex() == ROOTS[count - 1]


@pytest.mark.parametrize("count", [*range(1, 70), 1000])
def test_a_root_is_what_the_definition_says_and_every_leaf_leads_to_it(count: int) -> None:
    hashes = leaves(count)
    root = merkle_root(hashes)
    assert root == by_definition(hashes)
    for index in range(count) if count < 70 else (0, 511, 512, 999):
        node = hashes[index]
        for side, beside in audit_path(hashes, index):
            node = sha256(b"\x01" + (beside + node if side == LEFT else node + beside)).digest()
        assert node == root


@given(st.lists(st.text()))
def test_packed_fields_come_out_as_they_went_in(fields: list[str]) -> None:
    assert unpacked(packed(fields)) == fields


def test_where_a_field_ends_is_part_of_the_bytes() -> None:
    assert packed(["ab", "c"]) == b"2:ab1:c"
    assert packed(["a", "bc"]) == b"1:a2:bc"
    assert packed(["1:a"]) != packed(["1", "a"])
    assert packed(["ä"]) == "2:ä".encode()
