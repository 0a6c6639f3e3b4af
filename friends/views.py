"""The pages of friends: plain forms, one service call each. The start of a chat is the chat's own business."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.models import User
from accounts.page_data import page_data
from accounts.services import abuse_signals
from friends import services
from friends.errors import FriendshipNotFound
from friends.forms import AddFriendForm, chosen_ids
from friends.models import Friendship, FriendshipQuerySet
from securechat.errors import DomainError, TooFast
from securechat.logs import note_refusal

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]

_NOTHING_CHOSEN = {
    "approve": "Select at least one friend to approve.",
    "reject": "Select at least one friend to reject.",
}


@dataclass(frozen=True)
class PersonRow:
    """One line of a list: the friendship, and the other person's name, as typed and folded."""

    friendship: Friendship
    name: str
    folded_name: str


def _note(request: HttpRequest, response: HttpResponse, refusal: DomainError) -> None:
    """One line of the log under its own code, and a signal where somebody asks too fast."""
    note_refusal(response, refusal.code)
    if isinstance(refusal, TooFast):
        abuse_signals.note_too_fast(_person(request).pk)


def _refusals_go_to(url_name: str) -> Callable[[View[P]], View[P]]:
    """A rule that says no becomes a message on that page."""

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def answer(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            try:
                return view(request, *args, **kwargs)
            except DomainError as refusal:
                messages.error(request, str(refusal))
                response = redirect(url_name)
                _note(request, response, refusal)
                return response

        return answer

    return decorate


def _person(request: HttpRequest) -> User:
    assert not isinstance(request.user, AnonymousUser)
    return request.user


def _rows(person: User, friendships: Iterable[Friendship]) -> list[PersonRow]:
    listed = list(friendships)
    peers = services.peers_of(person, listed)
    rows = [PersonRow(row, peer.username, peer.folded_name) for row in listed if (peer := peers.get(row.pk))]
    return sorted(rows, key=lambda row: row.folded_name)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def add_friend(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return _add_friend_page(request, AddFriendForm())
    form = AddFriendForm(request.POST)
    refusal = DomainError()
    if form.is_valid():
        try:
            return _request_friendship(request, form.cleaned_data["username"])
        except DomainError as error:
            refusal = error
            form.add_error("username", str(refusal))
    response = _add_friend_page(request, form, status=refusal.status)
    _note(request, response, refusal)
    if refusal.retry_after_seconds is not None:
        response["Retry-After"] = str(refusal.retry_after_seconds)
    return response


@login_required
@require_GET
def add_by_link(request: HttpRequest, username: str) -> HttpResponse:
    """What stands behind ``#`` in the link, the fingerprint, is for the script: no browser sends it."""
    return _add_friend_page(request, AddFriendForm(initial={"username": username}), linked_name=username)


def _add_friend_page(
    request: HttpRequest, form: AddFriendForm, *, linked_name: str | None = None, status: int = 200
) -> HttpResponse:
    context = {"form": form, "linked_name": linked_name, "page_data": page_data(request)}
    return render(request, "friends/add_friend.html", context, status=status)


def _request_friendship(request: HttpRequest, username: str) -> HttpResponse:
    outcome = services.request_friendship(sender=_person(request), username=username)
    if outcome is services.Requested.FRIENDS:
        messages.success(request, "They had asked you too: you are friends now!")
        return redirect("friend-list")
    messages.success(request, "Friend request sent!")
    return redirect("friend-add")


@login_required
@require_GET
def friend_list(request: HttpRequest) -> HttpResponse:
    person = _person(request)
    friends = list(Friendship.objects.involving(person).accepted())
    blocked = list(Friendship.objects.blocked_for(person))
    blocked_ids = {friendship.pk for friendship in blocked}
    rows = _rows(person, [*friends, *blocked])
    context = {
        "friends": [row for row in rows if row.friendship.pk not in blocked_ids],
        "blocked": [row for row in rows if row.friendship.pk in blocked_ids],
        "offline_messages": settings.CHAT_OFFLINE_MESSAGES,
    }
    return render(request, "friends/friend_list.html", context)


@login_required
@require_GET
def friend_requests(request: HttpRequest) -> HttpResponse:
    """Two tabs; ``?tab=sent`` is the second."""
    person = _person(request)
    context: dict[str, Any] = {"tab": "sent" if request.GET.get("tab") == "sent" else "received"}
    if context["tab"] == "sent":
        since = timezone.now() - settings.FRIEND_REQUEST_PAUSE
        context["rows"] = _rows(person, Friendship.objects.sent_by(person))
        context["rejected"] = _rows(person, Friendship.objects.rejected_of(person, since=since))
    else:
        context["rows"] = _rows(person, Friendship.objects.received_by(person))
    return render(request, "friends/friend_requests.html", context)


@login_required
@require_POST
@_refusals_go_to("friend-requests")
def answer_requests(request: HttpRequest) -> HttpResponse:
    answer = request.POST.get("answer", "")
    if answer not in _NOTHING_CHOSEN:
        return redirect("friend-requests")
    chosen = chosen_ids(request.POST.getlist("request"))
    if not chosen:
        messages.error(request, _NOTHING_CHOSEN[answer])
        return redirect("friend-requests")
    if answer == "approve":
        answered = services.accept_requests(accepted_by=_person(request), public_ids=chosen)
        success = "Friend requests approved successfully!"
    else:
        answered = services.reject_requests(rejected_by=_person(request), public_ids=chosen)
        success = "Friend requests rejected successfully!"
    if answered.done:
        messages.success(request, success)
    if answered.gone:
        requests = "1 request was" if answered.gone == 1 else f"{answered.gone} requests were"
        messages.warning(request, f"{requests} withdrawn or answered in the meantime.")
    return redirect("friend-requests")


@login_required
@require_POST
@_refusals_go_to("friend-requests")
def withdraw(request: HttpRequest, public_id: UUID) -> HttpResponse:
    services.withdraw_request(withdrawn_by=_person(request), public_id=public_id)
    messages.success(request, "Friend request withdrawn.")
    return redirect("friend-requests")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@_refusals_go_to("friend-list")
def unfriend(request: HttpRequest, public_id: UUID) -> HttpResponse:
    person = _person(request)
    if request.method == "POST":
        services.end_friendship(ended_by=person, public_id=public_id)
        messages.success(request, "You are no longer friends.")
        return redirect("friend-list")
    return _ask_first(
        request, "friends/confirm_unfriend.html", public_id, Friendship.objects.involving(person).accepted()
    )


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@_refusals_go_to("friend-list")
def block(request: HttpRequest, public_id: UUID) -> HttpResponse:
    person = _person(request)
    if request.method == "POST":
        services.block_person(blocked_by=person, public_id=public_id)
        messages.success(request, "Blocked. They are not told.")
        return redirect("friend-list")
    return _ask_first(request, "friends/confirm_block.html", public_id, Friendship.objects.visible_to(person))


def _ask_first(
    request: HttpRequest, template: str, public_id: UUID, rows: FriendshipQuerySet
) -> HttpResponse:
    """What cannot simply be taken back is asked for on a page of its own."""
    found = _rows(_person(request), rows.filter(public_id=public_id))
    if not found:
        raise FriendshipNotFound
    return render(request, template, {"row": found[0]})


@login_required
@require_POST
@_refusals_go_to("friend-list")
def unblock(request: HttpRequest, public_id: UUID) -> HttpResponse:
    services.unblock_person(unblocked_by=_person(request), public_id=public_id)
    messages.success(request, "Unblocked. To be friends again, one of you has to ask.")
    return redirect("friend-list")
