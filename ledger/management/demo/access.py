"""The demo's key, its admin user, and the private file that tells people and scripts about them."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from datetime import datetime
from hmac import compare_digest
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from ledger.clients.models import ApiKey, Client
from ledger.clients.scopes import SCOPES
from ledger.clients.services import create_key, hash_of, record_audit, revoke_key
from ledger.management.demo.books import ACTOR

ADMIN = "demo"
LABEL = "demo"


def api_key(client: Client, known: str, *, now: datetime) -> str:
    """Return `known` if it is the demo's key and may do everything; else make a new key and revoke the one before."""
    if _is_usable(client, known):
        return known
    with transaction.atomic(durable=True):
        for lost in ApiKey.objects.filter(client=client, label=LABEL, revoked_at=None):
            revoke_key(key=lost, actor=ACTOR, reason="Its text is lost.", now=now)
        return create_key(client=client, scopes=SCOPES, label=LABEL, actor=ACTOR)[1]


def admin_password(known: str) -> str:
    """Return `known` if it is the demo user's password; else give the user, made if new, a random one."""
    user = User.objects.filter(username=ADMIN).first()
    if user is not None and user.check_password(known):
        return known
    password = secrets.token_urlsafe(18)
    with transaction.atomic(durable=True):
        if user is None:
            user = User.objects.create_superuser(ADMIN, password=password)
        else:
            user.set_password(password)
            user.save(update_fields=["password"])
        record_audit(client_id=None, actor=ACTOR, action="user.password_set", subject=user)
    return password


def read_file(path: Path) -> dict[str, str]:
    """Return the texts that an earlier demo left there; nothing if the file is lost or not ours."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return {name: text for name, text in known.items() if isinstance(text, str)} if isinstance(known, dict) else {}


def write_file(path: Path, answer: Mapping[str, Any]) -> None:
    """Put the file in place whole, readable by its owner alone (mode 600)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(answer, file, indent=2)
            file.write("\n")
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _is_usable(client: Client, text: str) -> bool:
    _, _, rest = text.partition("ch_")
    key_id, _, secret = rest.partition("_")
    key = ApiKey.objects.filter(pk=key_id, client=client, revoked_at=None, expires_at=None).first()
    return (
        key is not None and compare_digest(bytes(key.secret_hash), hash_of(secret)) and set(key.scopes) == SCOPES.keys()
    )
