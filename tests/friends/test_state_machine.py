"""Any sequence of acts of two people, against a model that keeps each person's wishes apart from the other's."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from django.conf import settings
from django.utils import timezone
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from friends import errors, services
from friends.models import Friendship
from tests import factories

Status = Friendship.Status
WHO = st.sampled_from([0, 1])


class Wishes:
    """What should be true: who asks whom, whether they are friends, who blocked, and who was rejected when."""

    def __init__(self) -> None:
        self.asking: int | None = None
        self.friends = False
        self.ever_friends = False
        self.blocking = {0: False, 1: False}
        self.rejected: tuple[int, datetime] | None = None

    def may_ask(self, who: int, now: datetime) -> type[Exception] | None:
        if self.blocking[who]:
            return errors.BlockedByYou
        if self.friends:
            return errors.AlreadyFriends
        if self.asking == who:
            return errors.AlreadySent
        if self.asking is None and self.rejected and self.rejected[0] == who:
            pause_is_over = now >= self.rejected[1] + settings.FRIEND_REQUEST_PAUSE
            return None if pause_is_over else errors.AskAgainLater
        return None

    def ask(self, who: int) -> None:
        if self.asking == 1 - who:
            self.become_friends()
        else:
            self.asking, self.rejected = who, None

    def become_friends(self) -> None:
        self.asking, self.friends, self.ever_friends = None, True, True

    def block(self, who: int) -> None:
        self.blocking[who], self.friends = True, False
        if self.asking == who:
            self.asking = None

    @property
    def leave_a_trace(self) -> bool:
        return self.ever_friends or self.asking is not None or self.rejected is not None or self.is_blocked

    @property
    def is_blocked(self) -> bool:
        return any(self.blocking.values())


class TwoPeople(RuleBasedStateMachine):
    pairs = 0

    @initialize()
    def meet(self) -> None:
        number = TwoPeople.pairs = TwoPeople.pairs + 1
        self.people = (factories.make_user(f"Left{number}"), factories.make_user(f"Right{number}"))
        self.wishes = Wishes()
        self.now = timezone.now()

    @rule(hours=st.sampled_from([1, 13, 25]))
    def time_passes(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule(who=WHO)
    def ask(self, who: int) -> None:
        person, other = self.people[who], self.people[1 - who]
        refusal = self.wishes.may_ask(who, self.now)

        if refusal:
            with pytest.raises(refusal):
                services.request_friendship(sender=person, username=other.username, now=self.now)
        else:
            crossing = self.wishes.asking == 1 - who
            outcome = services.request_friendship(sender=person, username=other.username, now=self.now)
            self.wishes.ask(who)
            assert (outcome is services.Requested.FRIENDS) == crossing

    @rule(who=WHO)
    def accept(self, who: int) -> None:
        possible = self.wishes.asking == 1 - who and not self.wishes.is_blocked
        answered = services.accept_requests(
            accepted_by=self.people[who], public_ids=self._ids(), now=self.now
        )

        assert answered.done == possible
        if possible:
            self.wishes.become_friends()

    @rule(who=WHO)
    def reject(self, who: int) -> None:
        possible = self.wishes.asking == 1 - who and not self.wishes.is_blocked
        answered = services.reject_requests(
            rejected_by=self.people[who], public_ids=self._ids(), now=self.now
        )

        assert answered.done == possible
        if possible:
            self.wishes.asking, self.wishes.rejected = None, (1 - who, self.now)

    @rule(who=WHO)
    def withdraw(self, who: int) -> None:
        possible = self.wishes.asking == who
        for public_id in self._ids():
            if possible:
                services.withdraw_request(withdrawn_by=self.people[who], public_id=public_id)
                self.wishes.asking = None
            else:
                with pytest.raises(errors.FriendshipNotFound):
                    services.withdraw_request(withdrawn_by=self.people[who], public_id=public_id)

    @rule(who=WHO)
    def end(self, who: int) -> None:
        for public_id in self._ids():
            if self.wishes.friends:
                services.end_friendship(ended_by=self.people[who], public_id=public_id, now=self.now)
                self.wishes.friends = False
            else:
                with pytest.raises(errors.FriendshipNotFound):
                    services.end_friendship(ended_by=self.people[who], public_id=public_id)

    @rule(who=WHO)
    def block(self, who: int) -> None:
        for public_id in self._ids():
            visible = Friendship.objects.visible_to(self.people[who]).exists()
            if visible and not self.wishes.blocking[who]:
                services.block_person(blocked_by=self.people[who], public_id=public_id, now=self.now)
                self.wishes.block(who)
            else:
                with pytest.raises((errors.FriendshipNotFound, errors.InvalidTransition)):
                    services.block_person(blocked_by=self.people[who], public_id=public_id)

    @rule(who=WHO)
    def unblock(self, who: int) -> None:
        for public_id in self._ids():
            if self.wishes.blocking[who]:
                services.unblock_person(unblocked_by=self.people[who], public_id=public_id)
                self.wishes.blocking[who] = False
            else:
                with pytest.raises(errors.FriendshipNotFound):
                    services.unblock_person(unblocked_by=self.people[who], public_id=public_id)

    @invariant()
    def what_is_stored_is_what_they_wish(self) -> None:
        row = Friendship.objects.between(*self.people).first()
        assert (row is not None) == self.wishes.leave_a_trace
        if row is None:
            return
        assert row.is_open == self.wishes.friends
        assert row.was_approved == self.wishes.ever_friends
        assert (row.status == Status.BLOCKED) == self.wishes.is_blocked
        row.validate_constraints()

    @invariant()
    def each_person_sees_their_own_side_only(self) -> None:
        for who, person in enumerate(self.people):
            blocks, asks = self.wishes.blocking[who], self.wishes.asking
            assert Friendship.objects.blocked_for(person).exists() == blocks
            assert Friendship.objects.sent_by(person).exists() == (asks == who)
            received = asks == 1 - who and not self.wishes.is_blocked
            assert Friendship.objects.received_by(person).exists() == received
            assert Friendship.objects.involving(person).accepted().exists() == self.wishes.friends

    def _ids(self) -> list[UUID]:
        return list(Friendship.objects.between(*self.people).values_list("public_id", flat=True))


@pytest.mark.django_db
def test_any_sequence_of_acts_leaves_a_legal_friendship(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "FRIEND_REQUESTS_PER_HOUR", 1_000_000)

    run_state_machine_as_test(
        TwoPeople,
        settings=hypothesis_settings(
            max_examples=20,
            stateful_step_count=20,
            deadline=None,
            database=None,
            phases=[Phase.generate],  # Twenty steps can be read; shrinking them takes minutes.
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_nothing_leads_from_a_state_to_itself() -> None:
    assert set(Friendship.NEXT_STATUSES) == set(Status)
    assert all(status not in following for status, following in Friendship.NEXT_STATUSES.items())
