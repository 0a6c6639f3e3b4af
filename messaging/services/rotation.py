"""Messaging's columns under the newest keys."""

from __future__ import annotations

from messaging.models import EpochRecord
from securechat.key_rotation import Progress, Walk, reseal


def rotate_epoch_records(how: Walk) -> Progress:
    """Every epoch record is opened, those under an older key are sealed again."""
    return reseal(
        EpochRecord.objects.all(), "sealed_record", lambda row: (row.record(), row.seal_purpose), how
    )
