"""Friends' columns under the newest keys."""

from __future__ import annotations

from typing import Any

from accounts.models import User
from accounts.names import fold
from friends.models import Friendship, friend_index, pair_index_of
from securechat import sealed
from securechat.key_rotation import Progress, Walk, walk


def rotate_friend_names(how: Walk) -> Progress:
    """Every name is opened, those under an older Fernet key are encrypted again."""

    def rewrite(rows: list[Friendship]) -> dict[Any, dict[str, object]]:
        names = {row.pk: row.friend_name for row in rows}
        return {
            row.pk: {"friend_sealed": sealed.encrypt_name(names[row.pk])}
            for row in rows
            if not sealed.is_name_by_newest(row.friend_sealed)
        }

    return walk(Friendship.objects.all(), rewrite, how)


def rotate_blind_indexes(how: Walk) -> Progress:
    """Indexes are made from ids, ids found by name. A row whose friend's account was deleted is nobody's: it stays."""

    def rewrite(rows: list[Friendship]) -> dict[Any, dict[str, object]]:
        names = {row.pk: fold(row.friend_name) for row in rows}
        people = {
            person.folded_name: person for person in User.objects.filter(folded_name__in=set(names.values()))
        }
        changed: dict[Any, dict[str, object]] = {}
        for row in rows:
            friend = people.get(names[row.pk])
            if friend is None or not row.is_friend(friend.pk):
                continue
            indexes: dict[str, object] = {
                "friend_index": friend_index(friend),
                "pair_index": pair_index_of(row.sender_id, friend.pk),
            }
            if any(bytes(getattr(row, column)) != index for column, index in indexes.items()):
                changed[row.pk] = indexes
        return changed

    return walk(Friendship.objects.all(), rewrite, how)
