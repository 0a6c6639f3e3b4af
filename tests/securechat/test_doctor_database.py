"""What the doctor says of the database that the tests have, which is SQLite or PostgreSQL."""

from __future__ import annotations

import pytest
from django.db import connection

from securechat.doctor import checks
from securechat.doctor.finding import Finding, State
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)


def found(name: str) -> Finding:
    look = next(look for check, look, _ in checks.CHECKS if check == name)
    (finding,) = look()
    return finding


@pytest.mark.parametrize("name", ["migrations", "stored keys", "audit trail", "clock"])
def test_a_good_database_is_good(name: str) -> None:
    factories.make_user("Alice1")

    assert found(name).state == State.OK


if (
    connection.vendor == "postgresql"
):  # Its own settings; SQLite has none, and is broken in tests/deploy/test_doctor.py.

    def test_postgresql_is_asked_whether_writes_are_durable() -> None:
        assert found("database").state == State.OK

        with connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit = off")
        try:
            finding = found("database")
        finally:
            connection.close()

        assert finding.state == State.FAILURE
        assert "synchronous_commit is off" in finding.said
        assert "ALTER SYSTEM" in finding.mend
