"""Friends: who asked whom, who is friends with whom, who blocked whom."""

from __future__ import annotations

from django.apps import AppConfig

from securechat import sealed_columns


class FriendsConfig(AppConfig):
    name = "friends"

    def ready(self) -> None:
        sealed_columns.register("friends.Friendship", lambda friendship: friendship.friend_name)
