from __future__ import annotations

from django.apps import AppConfig

from securechat import sealed_columns


class MessagingConfig(AppConfig):
    name = "messaging"

    def ready(self) -> None:
        sealed_columns.register("messaging.EpochRecord", lambda epoch_record: epoch_record.record())
        sealed_columns.register("messaging.Report", lambda report: report.evidence())
        sealed_columns.register("messaging.ReportedMessage", lambda message: message.row())
