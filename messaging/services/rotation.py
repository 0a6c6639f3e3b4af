"""Messaging's columns under the newest keys."""

from __future__ import annotations

from typing import Any

from messaging.models import EpochRecord, Report, ReportedMessage
from messaging.models.report import reporter_index
from securechat.key_rotation import Progress, Walk, reseal, walk


def rotate_epoch_records(how: Walk) -> Progress:
    """Every epoch record is opened, those under an older key are sealed again."""
    return reseal(
        EpochRecord.objects.all(), "sealed_record", lambda row: (row.record(), row.seal_purpose), how
    )


def rotate_reports(how: Walk) -> list[Progress]:
    """The same for what is sealed of reports."""
    return [
        reseal(
            Report.objects.all(),
            "sealed_evidence",
            lambda row: (row.evidence().encode(), row.seal_purpose),
            how,
        ),
        reseal(
            ReportedMessage.objects.all(),
            "sealed_row",
            lambda row: (row.row().encode(), row.seal_purpose),
            how,
        ),
    ]


def rotate_reporter_indexes(how: Walk) -> Progress:
    """By which somebody's own reports are found."""

    def rewrite(rows: list[Report]) -> dict[Any, dict[str, object]]:
        indexes = {row.pk: reporter_index(row.evidence().reporter_id) for row in rows}
        return {
            row.pk: {"reporter_index": indexes[row.pk]}
            for row in rows
            if bytes(row.reporter_index) != indexes[row.pk]
        }

    return walk(Report.objects.all(), rewrite, how)
