"""A device as a person writes it: rows of files and options become what the registry takes."""

from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.registry import Origin, StationClass
from services.operations.device_rows import Items, RowError, cleaned, items, read_rows
from services.storage.known import Known

FAR_BACK = datetime(2023, 1, 1, tzinfo=UTC)
NOTHING = Known({}, {}, {})
DEVICE = {
    "device_id": "d-1", "device_type": "sound-meter", "name": "Chợ", "owner": "city",
    "licence": None, "station_class": "regulatory", "origin": "real",
}  # fmt: skip
SITE = {"site_id": "park", "name": "The park", "latitude": 10.0, "longitude": 106.0,
        "altitude_m": None, "area": "thuan-an", "road_segment": None}  # fmt: skip
DEPLOYMENT = {"device_id": "d-1", "part": "", "site_id": "park", "height_m": 3.0,
              "exposure": None, "expected_interval_s": 60.0, "schedule": None,
              "firmware": None}  # fmt: skip


def understood(known: Known = NOTHING, /, **row: Any) -> Items:
    return items(cleaned({"device_id": "d-1", **row}), known, FAR_BACK)


def known() -> Known:
    rows: Any = ({"d-1": DEVICE}, {"park": SITE}, {("d-1", ""): DEPLOYMENT})
    return Known(*rows)


def test_json_lines_a_json_array_and_csv_say_the_same() -> None:
    expected = [{"device_id": "a", "type": "sound-meter"}, {"device_id": "b", "type": ""}]
    assert read_rows('{"device_id":"a","type":"sound-meter"}\n\n{"device_id":"b","type":""}\n') == (
        expected
    )
    assert read_rows('[{"device_id":"a","type":"sound-meter"},{"device_id":"b","type":""}]') == (
        expected
    )
    assert read_rows("\ufeffdevice_id,type\na,sound-meter\nb,\n") == expected


def test_what_is_no_json_names_its_line() -> None:
    with pytest.raises(RowError, match="line 2"):
        read_rows('{"device_id":"a"}\n{"device_id":\n')


def test_a_new_device_needs_only_a_name() -> None:
    device = understood().device
    assert (device.device_type, device.origin) == ("generic", Origin.REAL)
    assert device.station_class is StationClass.INDICATIVE


def test_a_known_device_keeps_what_is_not_named() -> None:
    device = understood(known(), name="Chợ mới").device
    assert (device.device_type, device.name, device.owner) == ("sound-meter", "Chợ mới", "city")
    assert device.station_class is StationClass.REGULATORY


def test_the_first_deployment_holds_as_far_back_as_data_is_taken() -> None:
    assert understood(site="park").deployment.valid_from == FAR_BACK  # type: ignore[union-attr]
    at = understood(site="park", data_from="2024-05-01T00:00:00Z").deployment
    assert at is not None
    assert at.valid_from == datetime(2024, 5, 1, tzinfo=UTC)


def test_saying_the_same_again_adds_nothing() -> None:
    again = understood(known(), site="park", expected_interval_s="60")
    assert (again.site, again.deployment) == (None, None)


def test_another_site_is_another_deployment_that_keeps_the_rest() -> None:
    moved = understood(known(), site="bridge", site_name="The bridge")
    assert moved.site is not None
    assert moved.deployment is not None
    assert (moved.site.name, moved.deployment.height_m) == ("The bridge", 3.0)


def test_a_site_keeps_what_is_not_named() -> None:
    site = understood(known(), site="park", area="phu-loi").site
    assert site is not None
    assert (site.name, site.latitude, site.area) == ("The park", 10.0, "phu-loi")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"device_typ": "sound-meter"}, "did you mean device_type"),
        ({"type": "sound-metre"}, "did you mean sound-meter"),
        ({"origin": "imagined"}, "real or simulated or recorded"),
        ({"latitude": "north"}, "latitude must be a number"),
        ({"data_from": "yesterday"}, "data_from"),
        ({"device_id": " "}, "device_id is missing"),
    ],
)
def test_what_can_not_be_understood_is_told(row: dict[str, str], told: str) -> None:
    with pytest.raises(RowError, match=told):
        understood(**row)
