"""The only settings module; everything that differs between installations comes from `config.env`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from config import subscriptions
from config.env import django_database, read_environment

ENV = read_environment()
BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = ENV.secret_key
SECRET_KEY_FALLBACKS = list(ENV.secret_key_fallbacks)
TOKEN_ISSUER = ENV.token_issuer
DEBUG = ENV.debug
ALLOWED_HOSTS = list(ENV.allowed_hosts)
CSRF_TRUSTED_ORIGINS = list(ENV.csrf_trusted_origins)
RELEASE = ENV.release

INSTALLED_APPS = [
    "config.apps.Composition",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_prometheus",
    "django_filters",
    "django_ratelimit",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "ledger.clients",
    "ledger.events",
    "ledger",
]

# What only pages need: requests to an API pass it by (config.api.handler).
PAGE_MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.api.logins.PagePolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
MIDDLEWARE = [
    "config.api.middleware.RequestRecord",
    "config.api.versions.Deprecated",
    "config.api.length.KnownLength",
    "config.api.metrics.Measured",
    "config.api.probes.Probes",
    "config.api.tls.ApiOverTls",
    "config.api.headers.SafeHeaders",
    "config.api.strangers.Strangers",
    "ledger.clients.throttles.QuotaHeaders",
    "ledger.clients.usage.UsageCounted",
    "config.api.compression.Compression",
    "config.api.conditional.Conditional",
    *PAGE_MIDDLEWARE,
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


def _database(url: str) -> dict[str, Any]:
    database = django_database(url)
    database["ENGINE"] = "config.runtime.postgresql"
    # A peer that dies without a word is noticed within half a minute, not after the kernel's two hours.
    keepalive = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000}
    database["OPTIONS"] |= keepalive | {
        "connect_timeout": 5,
        "pool": {
            "min_size": ENV.database_pool_min,
            "max_size": max(ENV.database_pool_min, ENV.database_pool_max),
            "timeout": ENV.database_pool_timeout_s,
            # A connection that cannot be made is given up at once, and the next request tries anew. Else the pool
            # tries it again in growing intervals, and meanwhile no request may.
            "reconnect_timeout": 0,
        },
        "prepare_threshold": 2 if ENV.database_prepare else None,
        "application_name": "countinghouse",
    }
    return database


# One database, reached in up to three ways: as role app, as role owner (migrations), past the pooler (session locks).
DATABASES = {"default": _database(ENV.database_url)}
if ENV.migrate_database_url:
    DATABASES["owner"] = django_database(ENV.migrate_database_url)
if ENV.direct_database_url:
    DATABASES["direct"] = django_database(ENV.direct_database_url)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LEDGER_ISOLATION = ENV.ledger_isolation
RECEIPT_BATCH_SIZE = ENV.receipt_batch_size
BATCH_FLUSH_INTERVAL = ENV.batch_flush_interval / 1000
RECEIPT_TIMEOUT = ENV.receipt_timeout
TRANSACTION_TIMEOUT = ENV.transaction_timeout
BACKDATE_MAX_DAYS = ENV.backdate_max_days
PROCESSOR_QUEUE_SIZE = ENV.processor_queue_size
NUM_PROCESSOR_WORKERS = ENV.num_processor_workers
POSTING_LANES = ENV.posting_lanes
STATUS_CACHE_TTL = ENV.status_cache_ttl
STATUS_UPDATE_INTERVAL = ENV.status_update_interval
TIER_QUOTAS = {
    "free": (ENV.quota_free_per_minute, ENV.quota_free_burst),
    "standard": (ENV.quota_standard_per_minute, ENV.quota_standard_burst),
    "premium": (ENV.quota_premium_per_minute, ENV.quota_premium_burst),
    "internal": (ENV.quota_internal_per_minute, ENV.quota_internal_burst),
}

CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": ENV.redis_url,
        "OPTIONS": {"CLIENT_CLASS": "config.runtime.redis.GuardedClient"},
    },
}
CACHE_ANSWERS = ENV.cache_answers
CACHE_TTL_S = ENV.cache_ttl_s
REDIS_URL = ENV.redis_url
DRAMATIQ_BROKER_URL = ENV.dramatiq_broker_url or ENV.redis_url
EVENTS_URLS = ENV.events_url
EVENTS_KEEP_DAYS = ENV.events_keep_days
FIRST_TOLD = subscriptions.FIRST
LISTENERS = subscriptions.LISTENERS
INBOUND_TOPICS = ENV.inbound_topics
INBOUND_HANDLERS = subscriptions.INBOUND
REPLAY_HANDLERS = subscriptions.REPLAY

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

STATIC_URL = "static/"  # served from the packages themselves: nothing to collect

WHITENOISE_USE_FINDERS = True

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = ENV.behind_tls
SESSION_COOKIE_AGE = 8 * 3600
SECURE_SSL_REDIRECT = ENV.behind_tls
SECURE_REDIRECT_EXEMPT = [r"^v2/health(/metrics)?$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ENV.behind_tls else None
SECURE_HSTS_SECONDS = 31_536_000 if ENV.behind_tls else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = ENV.behind_tls
X_FRAME_OPTIONS = "DENY"
TRUSTED_PROXIES = ENV.trusted_proxies
RATELIMIT_IP_META_KEY = "config.api.addresses.client_address"
RATELIMIT_FAIL_OPEN = True  # staff can log in while Redis is away
STRANGERS_PER_MINUTE = ENV.strangers_per_minute

V1_DEPRECATED_ON = ENV.v1_deprecated_on
V1_SUNSET_ON = ENV.v1_sunset_on

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["ledger.clients.authentication.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["config.api.permissions.HasScope", "config.api.conditional.ConditionsAreMet"],
    "DEFAULT_THROTTLE_CLASSES": ["ledger.clients.throttles.QuotaThrottle"],
    "DEFAULT_PARSER_CLASSES": ["config.api.json.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["config.api.json.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "config.api.negotiation.Negotiation",
    "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.NamespaceVersioning",
    "DEFAULT_VERSION": "v2",
    "ALLOWED_VERSIONS": ["v1", "v2"],
    "DEFAULT_SCHEMA_CLASS": "config.api.openapi.Schema",
    "DEFAULT_METADATA_CLASS": None,
    "URL_FORMAT_OVERRIDE": None,
    "EXCEPTION_HANDLER": "config.api.problems.handle",
    "UNAUTHENTICATED_USER": None,
    "UNAUTHENTICATED_TOKEN": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Countinghouse",
    "DESCRIPTION": "Moves money, books every movement double-entry, and never loses count of it.",
    "VERSION": "2.0.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "POSTPROCESSING_HOOKS": ["config.api.openapi.add_problems"],
}

DRAIN_FILE = ENV.drain_file
DRAIN_S = ENV.drain_s
SHUTDOWN_TIMEOUT_S = ENV.shutdown_timeout_s
METRICS_ALLOW = ENV.metrics_allow
PROMETHEUS_EXPORT_MIGRATIONS = False
OTEL_EXPORTER_OTLP_ENDPOINT = ENV.otel_exporter_otlp_endpoint
OUTBOUND_ALLOW_LOOPBACK = ENV.outbound_allow_loopback

LOG_LEVEL = ENV.log_level
LOGGING_CONFIG = "config.runtime.logging.configure"
LOGGING = {"level": LOG_LEVEL}
