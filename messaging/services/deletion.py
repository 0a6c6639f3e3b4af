"""What is left of reports when an account is deleted: both those it made and those about it stay with the operators."""

from __future__ import annotations

from accounts.services.deletion import Deletion
from messaging.models import Report


def count_reports(deletion: Deletion) -> None:
    deletion.kept["reports that they made, for the operators"] += Report.objects.made_by(
        deletion.user
    ).count()
    deletion.kept["reports about them, for the operators"] += Report.objects.filter(
        reported=deletion.user
    ).count()
