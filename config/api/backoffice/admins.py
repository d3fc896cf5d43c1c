"""What every page of the back office stands on: quick lists, and records that nobody edits."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin, ShowFacets
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_permission_codename
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from config.api.backoffice.changelist import CappedPaginator, KeysetChangeList
from config.runtime.errors import DomainError

ACTOR_LENGTH_MAX = 100

if TYPE_CHECKING:
    _ModelAdmin = ModelAdmin[Any]
else:
    _ModelAdmin = ModelAdmin


class KeysetAdmin(_ModelAdmin):
    """Lists by keyset pages; searches and filters only by what is declared.

    `keyset` is a unique column that grows with time. Of the filters' parameters, `scanning` names those that no index
    serves, and `leading` those whose column (the value) stands before the keyset in an index. A subclass finds by
    exact, indexed things in `find`.
    """

    keyset = "id"
    scanning: frozenset[str] = frozenset()
    leading: Mapping[str, str] = MappingProxyType({})
    list_per_page = 50
    sortable_by = ()
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    search_fields = ("exact",)  # makes the box appear; `find` does the work
    paginator = CappedPaginator
    change_list_template = "admin/keyset_change_list.html"
    change_form_template = "admin/record_change_form.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002  (Django's)
        return KeysetChangeList

    def get_ordering(self, request: HttpRequest) -> Any:  # noqa: ARG002  (Django's signature)
        return [f"-{self.keyset}"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        return rows.select_related(*self.list_select_related) if isinstance(self.list_select_related, tuple) else rows

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        # PostgreSQL takes no NUL: the address of a row with a text key may hold one.
        return None if "\x00" in object_id else super().get_object(request, object_id, from_field)

    def response_action(  # type: ignore[override]  # the stubs know a later Django
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        """Refuse ticks of what no row can be: the database would refuse the question itself."""
        for key in request.POST.getlist(ACTION_CHECKBOX_NAME):
            if "\x00" in key or not self._is_key(key):
                self.message_user(request, "There is no such row.", messages.WARNING)
                return HttpResponseRedirect(request.get_full_path())
        return super().response_action(request, queryset)

    def _is_key(self, text: str) -> bool:
        try:
            self.opts.pk.to_python(text)
        except ValidationError:
            return False
        return True

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:  # noqa: ARG002
        """Refuse `?description__icontains=…` and its kind: any lookup but a declared filter's reads the table."""
        return lookup in {getattr(one, "parameter_name", None) for one in self.list_filter}

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if "\x00" in term:
            return queryset.none(), False
        return (self.find(request, queryset, term) if term else queryset), False

    def find(self, request: HttpRequest, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        """Return what `term` names exactly, by an index."""
        raise NotImplementedError

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Say what a service refused; the database transaction of the form is rolled back."""
        one_button = {"show_save_and_continue": False, "show_save_and_add_another": False}
        try:
            return super().changeform_view(request, object_id, form_url, one_button | (extra_context or {}))
        except DomainError as refusal:
            self.message_user(request, refusal.detail, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())


class ReadOnlyAdmin(KeysetAdmin):
    """Shows; nobody adds, changes or deletes here, superusers included. Seeing needs the permission to view."""

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002  (Django's signature)
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        codename = get_permission_codename("view", self.opts)
        return request.user.has_perm(f"{self.opts.app_label}.{codename}")

    def story(self, request: HttpRequest, row: Any) -> dict[str, Any]:  # noqa: ARG002  (for subclasses)
        """Return what the record's own template shows beside its fields."""
        return {}

    def render_change_form(  # noqa: PLR0917  (Django's signature)
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """Add the story here, where the row was found and the permission checked."""
        return super().render_change_form(request, context | self.story(request, obj), add, change, form_url, obj)


def staff_actor(request: HttpRequest) -> str:
    """Name who acts, for history and audit rows: `staff:{username}`, cut and told apart by its id when too long."""
    actor = f"staff:{request.user.get_username()}"
    if len(actor) <= ACTOR_LENGTH_MAX:
        return actor
    mark = f"#{request.user.pk}"
    return actor[: ACTOR_LENGTH_MAX - len(mark)] + mark


def request_id_of(request: HttpRequest) -> str:
    """Return the id that the request's log line carries."""
    return str(getattr(request, "request_id", ""))
