"""Messaging's JSON requests. docs/protocol.md section 8."""

from __future__ import annotations

from typing import Annotated

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from pydantic import AfterValidator, Field, PlainValidator

from accounts.json_api import Body, Hash, PublicId, bytes_at_most, signed_in, takes
from accounts.wire import LARGEST_INTEGER
from messaging.models import Report
from messaging.services import reports
from messaging.services.reports import Disclosed


def _category(text: object) -> Report.Category:
    if not isinstance(text, str):
        raise ValueError("form")
    return Report.Category(text)


def _note(text: str) -> str:
    if len(text) > settings.MAX_REPORT_NOTE_CHARACTERS:
        raise ValueError("size")
    return text.strip()


class DisclosedBody(Body):
    n: Annotated[int, Field(ge=1, lt=LARGEST_INTEGER)]
    content: Annotated[bytes, bytes_at_most("MAX_ENVELOPE_BYTES")]
    franking_key: Hash  # As long as one.


def _messages(messages: tuple[DisclosedBody, ...]) -> tuple[DisclosedBody, ...]:
    if len(messages) > settings.MAX_REPORTED_MESSAGES or len({one.n for one in messages}) < len(messages):
        raise ValueError("messages")
    return messages


class ReportBody(Body):
    conversation: PublicId
    category: Annotated[Report.Category, PlainValidator(_category)]
    note: Annotated[str, AfterValidator(_note)]
    messages: Annotated[tuple[DisclosedBody, ...], AfterValidator(_messages)]


@takes(ReportBody)
def make_report(request: HttpRequest, body: ReportBody) -> HttpResponse:
    report = reports.make_report(
        by=signed_in(request),
        conversation=body.conversation,
        category=body.category,
        note=body.note,
        disclosed=[Disclosed(one.n, one.content, one.franking_key) for one in body.messages],
    )
    return JsonResponse({"report": report.pk, "verified": report.verified_count}, status=201)
