from __future__ import annotations

from django.apps import AppConfig

from securechat import sealed_columns


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        from accounts import front_page, stock_admin  # These need the models to be loaded.
        from accounts.services import abuse_signals
        from accounts.services.rotation import find_pepper_of
        from securechat import pulse

        stock_admin.replace()
        pulse.with_each_beat(abuse_signals.write)
        front_page.register_own()
        sealed_columns.register("accounts.User", find_pepper_of)
        sealed_columns.register("accounts.KeyChainEntry", lambda entry: entry.entry)
        sealed_columns.register("accounts.BrowserSession", lambda session: session.details)
        sealed_columns.register("accounts.Vault", lambda vault: vault.box)
        sealed_columns.register("accounts.Door", lambda door: door.content)
