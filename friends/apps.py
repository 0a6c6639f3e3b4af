"""Friends: who asked whom, who is friends with whom, who blocked whom."""

from __future__ import annotations

from django.apps import AppConfig

from securechat import sealed_columns


class FriendsConfig(AppConfig):
    name = "friends"

    def ready(self) -> None:
        from accounts.services import deletion, export  # These need the models to be loaded.
        from friends.services.deletion import end_all
        from friends.services.export import friendships

        deletion.register(end_all)
        export.register("friendships", friendships)
        sealed_columns.register("friends.Friendship", lambda friendship: friendship.friend_name)
