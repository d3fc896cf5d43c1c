from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "ledger.events"
    label = "events"

    def ready(self) -> None:
        import ledger.events.checks  # noqa: F401
