"""The chat page, and the way to it from the list of friends."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AnonymousUser
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from accounts.models import User
from friends.models import Friendship
from friends.services import peers_of
from messaging import presence
from messaging.errors import ConversationNotFound
from messaging.models import Report
from messaging.services.conversations import membership_of

REPORTS_PAGE_ROWS = 20
_NOBODY = UUID(int=0)


@login_required
@require_safe
def chat(request: HttpRequest, conversation: UUID | None = None) -> HttpResponse:
    person = _person(request)
    if conversation is not None:
        try:
            membership_of(person, conversation)
        except ConversationNotFound:
            raise Http404 from None
    response = render(request, "messaging/chat.html", {"page_data": _page_data(person, conversation)})
    response.headers["Permissions-Policy"] = "camera=(self), microphone=(), geolocation=()"
    return response


@login_required
@require_safe
def own_reports(request: HttpRequest) -> HttpResponse:
    """What this person reported, and what came of it."""
    made = Report.objects.made_by(_person(request)).order_by("-made_at", "-pk")
    return render(
        request,
        "messaging/reports.html",
        {"page": Paginator(made, REPORTS_PAGE_ROWS).get_page(request.GET.get("page"))},
    )


@login_required
@require_POST
def start_chat(request: HttpRequest) -> HttpResponse:
    """Opens the first of the chosen friends; without ``offline`` only one who is online, or may be."""
    person = _person(request)
    chosen = _first_chosen(person, request.POST.getlist("friend"))
    if chosen is None:
        messages.error(request, "Select at least one friend to chat with.")
        return redirect("friend-list")
    friendship, peer = chosen
    may_wait = settings.CHAT_OFFLINE_MESSAGES and request.POST.get("offline") == "1"
    if not may_wait and presence.is_online([peer.pk])[peer.pk] is False:
        messages.error(request, _offline_message(peer))
        return redirect("friend-list")
    return redirect("chat-room", friendship.public_id)


def _first_chosen(person: User, ids: list[str]) -> tuple[Friendship, User] | None:
    chosen = [public_id for text in ids if (public_id := _uuid(text)) is not None]
    rows = {
        row.public_id: row
        for row in Friendship.objects.involving(person).accepted().filter(public_id__in=chosen)
    }
    peers = peers_of(person, rows.values())
    for public_id in chosen:
        friendship = rows.get(public_id)
        if friendship is not None and friendship.pk in peers:
            return friendship, peers[friendship.pk]
    return None


def _offline_message(peer: User) -> str:
    if settings.CHAT_OFFLINE_MESSAGES:
        return f"{peer.username} is offline. Use Leave a message; it arrives when they are back."
    return f"{peer.username} is offline. Only an online friend can be selected to chat."


def _page_data(person: User, conversation: UUID | None) -> dict[str, Any]:
    return {
        "name": person.username,
        "folded_name": person.folded_name,
        "origin": settings.PUBLIC_ORIGIN,
        "conversation": conversation and str(conversation),
        "socket_path": "/ws/",
        "offline_messages": settings.CHAT_OFFLINE_MESSAGES,
        "limits": {
            "max_frame_bytes": settings.MAX_FRAME_BYTES,
            "max_envelope_bytes": settings.MAX_ENVELOPE_BYTES,
            "max_message_characters": settings.MAX_MESSAGE_CHARACTERS,
            "max_epoch_record_bytes": settings.MAX_EPOCH_RECORD_BYTES,
            "max_reported_messages": settings.MAX_REPORTED_MESSAGES,
            "max_report_note_characters": settings.MAX_REPORT_NOTE_CHARACTERS,
            "max_report_evidence_bytes": settings.MAX_REPORT_EVIDENCE_BYTES,
            "history_page_rows": settings.HISTORY_PAGE_ROWS,
            "envelopes_per_second": settings.ENVELOPES_PER_SECOND,
            "envelope_burst": settings.ENVELOPE_BURST,
        },
        "urls": {
            "chat": reverse("chat"),
            "room": reverse("chat-room", args=[_NOBODY]),
            "start": reverse("start"),
            "friends": reverse("friend-list"),
            "add_friend": reverse("friend-add"),
            "browsers": reverse("browsers"),
            "reports": reverse("reports"),
            "requests": reverse("friend-requests"),
            "log_in": reverse("log-in"),
            "log_out": reverse("log-out"),
            "settings": reverse("settings"),
        },
    }


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _person(request: HttpRequest) -> User:
    assert not isinstance(request.user, AnonymousUser)
    return request.user
