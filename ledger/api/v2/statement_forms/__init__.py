"""The forms of an account's statement. A new one is a file here and a line in FORMS; the first answers by default."""

from __future__ import annotations

from config.api.json import JSONRenderer
from ledger.api.v2.statement_forms.camt053 import Camt053Form
from ledger.api.v2.statement_forms.comma_separated import CsvForm

FORMS = [JSONRenderer, CsvForm, Camt053Form]
