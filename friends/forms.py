"""What the pages of this app send."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django import forms


class AddFriendForm(forms.Form):
    """Any text is allowed: whether there is such a name is the service's question."""

    username = forms.CharField(
        max_length=150,
        label="Username",
        error_messages={"required": "Enter the username of the person you want to add."},
    )


def chosen_ids(values: Iterable[str]) -> list[UUID]:
    """The check boxes that were ticked; what is no id is nobody's row, so it is left out."""
    found = []
    for value in values:
        try:
            found.append(UUID(value))
        except ValueError:
            continue
    return found
