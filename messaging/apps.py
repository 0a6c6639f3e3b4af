from __future__ import annotations

from django.apps import AppConfig

from securechat import metrics, sealed_columns


class MessagingConfig(AppConfig):
    name = "messaging"

    def ready(self) -> None:
        from accounts.services import deletion  # These need the models to be loaded.
        from accounts.services import export as own_data
        from messaging import front_page
        from messaging.models import Report
        from messaging.services import export
        from messaging.services.deletion import count_reports

        metrics.Gauge(
            "reports_waiting", "Reports that nobody closed yet.", lambda: Report.objects.waiting().count()
        )
        front_page.register_own()
        deletion.register(count_reports)
        own_data.register("conversations", export.conversations)
        own_data.register("epoch_records", export.epoch_records)
        own_data.register("heads", export.heads)
        own_data.register("envelopes", export.envelopes)
        own_data.register("reports", export.reports)
        sealed_columns.register("messaging.EpochRecord", lambda epoch_record: epoch_record.record())
        sealed_columns.register("messaging.Report", lambda report: report.evidence())
        sealed_columns.register("messaging.ReportedMessage", lambda message: message.row())
