"""Every address of the service. Each API version is a namespace, which is how its requests know their version."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from config.api import docs, health, logins
from ledger.api.v2 import urls as ledger_v2

handler400 = "config.api.problems.bad_request"
handler403 = "config.api.problems.permission_denied"
handler404 = "config.api.problems.not_found"
handler500 = "config.api.problems.server_error"

Routes = list[URLPattern | URLResolver]


def _documents(version: str) -> Routes:
    return [
        path("schema", docs.schema, {"version": version}, name="schema"),
        path("docs", docs.swagger, {"version": version}, name="docs"),
    ]


v1: Routes = _documents("v1")
v2: Routes = [
    *ledger_v2.urlpatterns,
    *_documents("v2"),
    path("health", health.HealthView.as_view(), name="health"),
    path("health/metrics", health.MetricsView.as_view(), name="metrics"),
]

# They are tried one after the other: what is asked most stands first.
urlpatterns: Routes = [
    path("v2/", include((v2, "v2"))),
    path("livez", health.livez, name="livez"),
    path("readyz", health.readyz, name="readyz"),
    path("docs", RedirectView.as_view(pattern_name="v2:docs"), name="docs"),
    path("docs/errors", docs.errors, name="errors"),
    path("docs/migrate-v1-v2", docs.migration, name="migration"),
    path("redoc", docs.redoc, {"version": "v2"}, name="redoc"),
    path("admin/login/", logins.login, name="login"),
    path("admin/", admin.site.urls),
    path("api/v1/", include((v1, "v1"))),
]
