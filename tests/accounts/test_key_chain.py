from __future__ import annotations

from accounts.models import User
from accounts.services import key_chain, vaults


def test_who_signs_up_has_keys_and_one_browser(alice: User) -> None:
    keys = vaults.keys_of(alice)

    assert keys is not None
    assert key_chain.has_keys(alice)
    assert len(key_chain.device_ids(alice)) == 1
    assert [door.kind for door in keys.doors] == ["password", "recovery"]
