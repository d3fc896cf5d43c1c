"""The back office of clients: tenants, their keys, staff, and the audit trail."""

from ledger.clients.admin.audit import AuditEntryAdmin
from ledger.clients.admin.clients import ClientAdmin
from ledger.clients.admin.keys import ApiKeyAdmin
from ledger.clients.admin.staff import StaffAdmin
from ledger.clients.admin.usage import RouteUseAdmin

__all__ = ["ApiKeyAdmin", "AuditEntryAdmin", "ClientAdmin", "RouteUseAdmin", "StaffAdmin"]
