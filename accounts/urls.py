"""The account's pages at the top, its JSON requests under /api/."""

from __future__ import annotations

from django.urls import include, path

from accounts import api, views

_api = [
    path("log-in-parameters/", api.log_in_parameters, name="api-log-in-parameters"),
    path("sign-up/", api.sign_up, name="api-sign-up"),
    path("log-in/", api.log_in, name="api-log-in"),
    path("keys/", api.keys, name="api-keys"),
    path("key-chain/", api.append_to_key_chain, name="api-key-chain"),
    path("keys/renew/", api.renew_keys, name="api-keys-renew"),
    path("keys/reset/", api.start_fresh, name="api-keys-reset"),
    path("browsers/", api.browsers, name="api-browsers"),
    path("browsers/end/", api.end_browser, name="api-browsers-end"),
    path("vault/", api.vault, name="api-vault"),
    path("password/", api.change_password, name="api-password"),
    path("account/export/", api.export_own_data, name="api-account-export"),
    path("account/delete/", api.delete_own_account, name="api-account-delete"),
    path("recovery/begin/", api.begin_recovery, name="api-recovery-begin"),
    path("recovery/finish/", api.finish_recovery, name="api-recovery-finish"),
    path("recovery-code/", api.replace_recovery_code, name="api-recovery-code"),
    path("recovery-code/confirm/", api.confirm_recovery_code, name="api-recovery-code-confirm"),
]

urlpatterns = [
    path("sign-up/", views.sign_up, name="sign-up"),
    path("log-in/", views.log_in, name="log-in"),
    path("log-out/", views.log_out, name="log-out"),
    path("recover/", views.recover, name="recover"),
    path("settings/", views.account_settings, name="settings"),
    path("settings/data/", views.own_data, name="own-data"),
    path("browsers/", views.browsers, name="browsers"),
    path("warning/", views.acknowledge_warning, name="acknowledge-warning"),
    path("api/", include(_api)),
]
