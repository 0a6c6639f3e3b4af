"""Every frame of docs/protocol.md section 7 once, and frames that each side refuses."""

from __future__ import annotations

from typing import Any

from tests.peer.wire import to_base64url

Frame = dict[str, Any]

CONVERSATION = "0d4e2a5c-9b7f-4c11-8a3e-6f1d2c3b4a59"
CLIENT_ID = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
SOME_BYTES = to_base64url(bytes(range(40)))
HASH = to_base64url(bytes(32))
ROW: Frame = {
    "n": 7,
    "side": 1,
    "client_id": CLIENT_ID,
    "envelope": SOME_BYTES,
    "stored_at": 1_763_913_600_000,
}
SUMMARY: Frame = {
    "conversation": CONVERSATION,
    "peer": "bob",
    "side": 0,
    "open": True,
    "online": None,
    "last_n": 7,
    "epoch": 1,
    "peer_has_keys": True,
    "peer_deleted": False,
    "last": ROW,
    "heads": [SOME_BYTES, None],
    "active_at": 1_763_913_600_000,
}
STORED: Frame = {"client_id": CLIENT_ID, "n": 7, "stored_at": 1_763_913_600_000}
SIDES: Frame = {"ref": 1, "conversation": CONVERSATION}


def client_frames() -> dict[str, list[Any]]:
    valid = [
        {"type": "conversations.list", "ref": 1, "before": None},
        {"type": "conversations.list", "ref": 2**53 - 1, "before": CONVERSATION},
        {"type": "epochs.get", **SIDES, "after": 0},
        {"type": "epoch.append", **SIDES, "epoch": 1, "record": SOME_BYTES},
        {"type": "chain.get", **SIDES, "whose": "own", "after": 0},
        {"type": "chain.get", **SIDES, "whose": "peer", "after": 3},
        {
            "type": "envelope.send",
            **SIDES,
            "client_id": CLIENT_ID,
            "epoch": 1,
            "envelope": SOME_BYTES,
        },
        {"type": "envelopes.lookup", **SIDES, "client_ids": [CLIENT_ID]},
        {"type": "history.get", **SIDES, "direction": "before", "n": 0, "limit": 50},
        {"type": "history.get", **SIDES, "direction": "after", "n": 7, "limit": 1},
        {"type": "head.set", **SIDES, "head": SOME_BYTES},
        {"type": "ping", "ref": 1},
    ]
    invalid = [
        *_damaged(valid),
        {"type": "ping", "ref": 0},
        {"type": "ping", "ref": -1},
        {"type": "ping", "ref": 2**53},
        {"type": "ping", "ref": 1.5},
        {"type": "ping", "ref": "1"},
        {"type": "ping", "ref": True},
        {"type": "epochs.get", "ref": 1, "conversation": CONVERSATION.upper(), "after": 0},
        {"type": "epochs.get", "ref": 1, "conversation": CONVERSATION.replace("-", ""), "after": 0},
        {"type": "epoch.append", **SIDES, "epoch": 0, "record": SOME_BYTES},
        {"type": "epoch.append", **SIDES, "epoch": 1, "record": SOME_BYTES + "=="},
        {"type": "head.set", **SIDES, "head": "AB"},
        {"type": "head.set", **SIDES, "head": ""},
        {"type": "chain.get", **SIDES, "whose": "mallory", "after": 0},
        {"type": "envelopes.lookup", **SIDES, "client_ids": []},
        {"type": "envelopes.lookup", **SIDES, "client_ids": [CLIENT_ID] * 51},
        {"type": "history.get", **SIDES, "direction": "before", "n": 0, "limit": 0},
        {"type": "history.get", **SIDES, "direction": "before", "n": 0, "limit": 51},
        {"type": "history.get", **SIDES, "direction": "sideways", "n": 0, "limit": 1},
        {"type": "pong", "ref": 1},
    ]
    return {"valid": valid, "invalid": invalid}


def server_frames() -> dict[str, list[Any]]:
    valid = [
        {
            "type": "welcome",
            "name": "Alice",
            "server_time": 1_763_913_600_000,
            "requests": 2,
            "presence": [
                {"conversation": CONVERSATION, "online": True},
                {"conversation": CLIENT_ID, "online": None},
            ],
        },
        {"type": "conversations", "ref": 1, "items": [SUMMARY], "more": False},
        {
            "type": "conversations",
            "ref": 1,
            "items": [{**SUMMARY, "last": None, "online": False, "epoch": 0, "last_n": 0}],
            "more": True,
        },
        {"type": "epochs", **SIDES, "records": [SOME_BYTES], "more": False},
        {"type": "epoch.appended", **SIDES, "epoch": 1},
        {"type": "epoch.new", "conversation": CONVERSATION, "epoch": 2, "record": SOME_BYTES},
        {"type": "chain", **SIDES, "whose": "peer", "entries": [SOME_BYTES, SOME_BYTES], "more": False},
        {"type": "envelope.stored", **SIDES, **STORED},
        {"type": "envelope.new", "conversation": CONVERSATION, "row": ROW},
        {"type": "envelopes.found", **SIDES, "items": [STORED]},
        {"type": "history", **SIDES, "rows": [ROW], "before_hash": HASH, "last_n": 9, "more": True},
        {"type": "head.stored", **SIDES},
        {"type": "head.new", "conversation": CONVERSATION, "side": 1, "head": SOME_BYTES},
        {"type": "presence", "conversation": CONVERSATION, "online": False},
        {"type": "conversation.changed", "summary": SUMMARY},
        {"type": "requests", "count": 0},
        {"type": "keys.changed", "conversation": None},
        {"type": "keys.changed", "conversation": CONVERSATION},
        {"type": "refused", "ref": None, "code": "malformed_frame", "message": "No.", "retry_after": None},
        {"type": "refused", "ref": 3, "code": "too_fast", "message": "Wait.", "retry_after": 2},
        {"type": "pong", "ref": 1},
    ]
    invalid = [
        *_damaged(valid),
        {"type": "conversations", "ref": 1, "items": [{**SUMMARY, "side": 2}], "more": False},
        {"type": "conversations", "ref": 1, "items": [{**SUMMARY, "heads": [None]}], "more": False},
        {"type": "conversations", "ref": 1, "items": [{**SUMMARY, "extra": 1}], "more": False},
        {"type": "conversations", "ref": 1, "items": [{**SUMMARY, "last": {**ROW, "n": 0}}], "more": False},
        {"type": "envelope.new", "conversation": CONVERSATION, "row": {**ROW, "envelope": "AB"}},
        {"type": "envelope.new", "conversation": CONVERSATION, "row": {**ROW, "stored_at": 1.5}},
        {"type": "history", **SIDES, "rows": [], "before_hash": "AA", "last_n": 0, "more": False},
        {"type": "presence", "conversation": CONVERSATION, "online": "maybe"},
        {"type": "ping", "ref": 1},
    ]
    return {"valid": valid, "invalid": invalid}


def _damaged(frames: list[Frame]) -> list[Any]:
    """Each frame with each field missing, each with one too many, and things that are no frames."""
    shorter = [
        {name: value for name, value in frame.items() if name != missing}
        for frame in frames
        for missing in frame
    ]
    wrong: list[Frame] = [
        {**frame, name: {"wrong": "type"}} for frame in frames for name in frame if name != "type"
    ]
    longer = [{**frame, "extra": None} for frame in frames]
    return [
        *shorter,
        *wrong,
        *longer,
        {},
        [],
        None,
        1,
        "ping",
        {"type": None},
        {"type": "constructor", "ref": 1},
    ]
