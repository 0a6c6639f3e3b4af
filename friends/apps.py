"""Friends: who asked whom, who is friends with whom, who blocked whom."""

from __future__ import annotations

from django.apps import AppConfig


class FriendsConfig(AppConfig):
    name = "friends"
