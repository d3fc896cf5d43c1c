"""The back office: accounts, transactions and dead letters, with what staff may do to them; batches and journals."""

from django.contrib import admin

from ledger.admin.accounts import AccountAdmin
from ledger.admin.batches import BatchAdmin
from ledger.admin.dead_letters import DeadLetterAdmin
from ledger.admin.journals import JournalAdmin
from ledger.admin.transactions import TransactionAdmin

__all__ = ["AccountAdmin", "BatchAdmin", "DeadLetterAdmin", "JournalAdmin", "TransactionAdmin"]

admin.site.site_header = admin.site.site_title = "Countinghouse"
admin.site.index_title = "Back office"
admin.site.site_url = None  # there is no site but the back office
admin.site.enable_nav_sidebar = False  # the lists need the width
