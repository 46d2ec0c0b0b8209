"""P4, P5: which errors are the data's fault, which the database's condition, and which ours."""

import asyncpg
import pytest

from services.storage.failures import UnavailableError, is_rejection, is_unavailable


def postgres(sqlstate: str) -> asyncpg.PostgresError:
    return asyncpg.PostgresError.new({"C": sqlstate, "M": "said by a server", "S": "ERROR"})


@pytest.mark.parametrize(
    "sqlstate", ["21000", "22021", "22P02", "23502", "23514", "54000", "54001", "53400"]
)
def test_data_is_to_blame(sqlstate: str) -> None:
    assert is_rejection(postgres(sqlstate))
    assert not is_unavailable(postgres(sqlstate))


@pytest.mark.parametrize(
    "sqlstate",
    ["08006", "53100", "53200", "53300", "57P01", "57P03", "57014", "58030", "25006", "25P03",
     "55P03", "40001", "40P01"],
)  # fmt: skip
def test_the_database_is_away(sqlstate: str) -> None:
    assert is_unavailable(postgres(sqlstate))
    assert not is_rejection(postgres(sqlstate))


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("peer"),
        TimeoutError(),
        UnavailableError("not now"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("cannot switch to state 15; another operation is in progress"),
    ],
)
def test_a_connection_is_of_no_more_use(error: Exception) -> None:
    assert is_unavailable(error)
    assert not is_rejection(error)


@pytest.mark.parametrize("error", [postgres("42P01"), postgres("42501"), ValueError("ours")])
def test_anything_else_is_ours(error: Exception) -> None:
    assert not is_unavailable(error)
    assert not is_rejection(error)
