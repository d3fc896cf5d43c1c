from django.apps import AppConfig


class ClientsConfig(AppConfig):
    name = "ledger.clients"
    label = "clients"
