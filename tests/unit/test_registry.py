"""What the registry takes: every problem of an item is named, and nothing else is one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.registry import Deployment, Device, InvalidRegistryError, Site, check

SINCE = datetime(2025, 1, 1, tzinfo=UTC)
NAIVE = SINCE.replace(tzinfo=None)


def test_plain_items_are_taken() -> None:
    check(Device("a"))
    check(Site("s", "Site", latitude=-90, longitude=180))
    check(Deployment("a", "", "s", SINCE, valid_to=SINCE + timedelta(seconds=1)))


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (Device("a/b"), "device_id 'a/b'"),
        (Device("x" * 129), "up to 127"),
        (Device("a", device_type=" "), "device_type must not be empty"),
        (Device("a", name="\0"), "name must not contain a NUL"),
        (Device("a", data_from=NAIVE), "data_from 2025-01-01T00:00:00 must say its zone"),
        (Site("", "Site"), "site_id must not be empty"),
        (Site("s", "Site", latitude=91, longitude=0), "latitude must be between -90 and 90"),
        (Site("s", "Site", latitude=float("nan"), longitude=0), "latitude must be between"),
        (Site("s", "Site", latitude=1), "together or not at all"),
        (Deployment("a", "", "s", SINCE, valid_to=SINCE), "is not after valid_from"),
        (Deployment("a", "", "s", SINCE, expected_interval_s=0), "must be over 0"),
    ],
)
def test_a_problem_is_named(item: Device | Site | Deployment, words: str) -> None:
    with pytest.raises(InvalidRegistryError, match=r"device|site|deployment") as refused:
        check(item)
    assert words in str(refused.value)


def test_an_unknown_origin_is_told_with_those_there_are() -> None:
    values: dict[str, Any] = {"origin": "guessed", "station_class": "toy"}
    with pytest.raises(InvalidRegistryError, match=r"real or simulated or recorded.*regulatory or"):
        check(Device("a", **values))
