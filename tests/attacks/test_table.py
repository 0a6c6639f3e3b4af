from tests.attacks import table


def test_the_table_in_the_threat_model_is_that_of_the_suite() -> None:
    """If not: ``python -m tests.attacks.table``."""
    document = table.FILE.read_text()

    assert table.with_table(document) == document
