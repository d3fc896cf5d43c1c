"""Actions that ask: a page shows what will happen and wants a reason; then it is done, and how it went is said."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from config.api.backoffice.admins import ReadOnlyAdmin, request_id_of, staff_actor
from config.runtime.errors import DomainError

CHOSEN_MAX = 100
DONE_WITHIN_S = 20.0
RECORD = "record"  # the question was asked on the page of one record, which is where its answer leads back to
MOVED = "Something has moved since this page was shown: look again."


class ReasonForm(forms.Form):
    """Why something is done."""

    reason = forms.CharField(max_length=500, widget=forms.Textarea(attrs={"rows": 3}))


@dataclass(frozen=True, slots=True)
class Question:
    """What staff are asked: `done` begins the message that counts what was done.

    `do` is called for each row, with the fields of the form, the `actor` and the `request_id`; a refusal is raised.
    """

    verb: str
    done: str
    do: Callable[..., object]
    form: type[ReasonForm] = ReasonForm


class AskingAdmin(ReadOnlyAdmin):
    """Records that nobody edits, and to which staff may do what the actions say: with a permission and a reason."""

    ask_template = "admin/ask.html"

    def seen(self, row: Any) -> str:
        """Return what of a row the question shows and rests on; when it has moved, the question is asked again."""
        raise NotImplementedError

    def shown(self, question: Question, rows: list[Any]) -> dict[str, Any]:
        """Return what the template of the question shows of the rows."""
        raise NotImplementedError

    def possible(self, row: Any) -> Mapping[str, str]:
        """Return the actions that the state of a row allows, each with the words of its button."""
        raise NotImplementedError

    def story(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        permitted = self.get_actions(request)
        offered = [(name, label) for name, label in self.possible(row).items() if name in permitted]
        return super().story(request, row) | {"offered": offered, "checkbox_name": ACTION_CHECKBOX_NAME}

    def ask(
        self,
        request: HttpRequest,
        queryset: QuerySet[Any],
        question: Question,
        *,
        initial: Callable[[Any], dict[str, Any]] | None = None,
    ) -> HttpResponse | None:
        """Show what is to be done and ask why; once that is answered, do it.

        `initial` says with what the form begins, for a question that is asked of one row.
        """
        rows = _chosen(queryset, request)
        if len(rows) > (CHOSEN_MAX if initial is None else 1):
            self.message_user(request, _too_many(self.opts, initial is not None), messages.WARNING)
            return None
        is_answered = "confirmed" in request.POST
        form = question.form(
            request.POST if is_answered else None, initial=initial(rows[0]) if initial is not None and rows else None
        )
        seen = _digest(f"{row.pk} {self.seen(row)}" for row in rows)
        is_seen = request.POST.get("seen") == seen
        if is_answered and is_seen and form.is_valid():
            self._do(request, rows, question, form.cleaned_data)
            return HttpResponseRedirect(self._back(request, rows))
        if is_answered and not is_seen:
            self.message_user(request, MOVED, messages.WARNING)
        context = self._page(request, rows, question, form) | {"seen": seen} | self.shown(question, rows)
        return TemplateResponse(request, self.ask_template, context)

    def _page(self, request: HttpRequest, rows: list[Any], question: Question, form: ReasonForm) -> dict[str, Any]:
        one, many = f"the {self.opts.verbose_name}", f"{len(rows)} {self.opts.verbose_name_plural}"
        return self.admin_site.each_context(request) | {
            "title": f"{question.verb} {one if len(rows) == 1 else many}",
            "opts": self.opts,
            "verb": question.verb,
            "form": form,
            "rows": rows,
            "action": request.POST["action"],
            "asked_on": request.POST.get("asked_on", ""),
            "list_url": self._list_url(),
            "back_url": self._back(request, rows),
            "checkbox_name": ACTION_CHECKBOX_NAME,
        }

    def _do(self, request: HttpRequest, rows: Sequence[Any], question: Question, fields: Mapping[str, Any]) -> None:
        """Do it to one row after the other: what is refused keeps no other from being done."""
        done, until = 0, time.monotonic() + DONE_WITHIN_S
        by = {"actor": staff_actor(request), "request_id": request_id_of(request)}
        for place, row in enumerate(rows):
            if time.monotonic() > until:
                left = len(rows) - place
                self.message_user(request, f"Not reached in time, and as before: {left}.", messages.WARNING)
                break
            try:
                question.do(row, **fields, **by)
            except DomainError as refusal:
                self.message_user(request, f"{row}: {refusal.code}: {refusal.detail}", messages.ERROR)
            else:
                done += 1
        if done:
            self.message_user(request, f"{question.done}: {done}.", messages.SUCCESS)

    def _back(self, request: HttpRequest, rows: Sequence[Any]) -> str:
        if request.POST.get("asked_on") == RECORD and len(rows) == 1:
            return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[rows[0].pk])
        return self._list_url()

    def _list_url(self) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")


def _chosen(queryset: QuerySet[Any], request: HttpRequest) -> list[Any]:
    """Return what was ticked, never all that the list could show; of too many only one more than may be."""
    ticked = queryset.filter(pk__in=request.POST.getlist(ACTION_CHECKBOX_NAME))
    return list(ticked.order_by("pk")[: CHOSEN_MAX + 1])


def _too_many(opts: Any, is_of_one: bool) -> str:
    if is_of_one:
        return f"This is asked of one {opts.verbose_name}: choose one."
    return f"At most {CHOSEN_MAX} {opts.verbose_name_plural} can be chosen."


def _digest(parts: Any) -> str:
    return sha256("\n".join(parts).encode()).hexdigest()
