"""Readers of recorded files: each trap of the real files, in a few rows of our own."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from schemas.messages import Decoded, Message
from schemas.registry import Deployment, Device, Origin, Site, check
from services.decoding.detect import decode
from services.operations.replaying import citypulse, sensor_community, telstra
from services.operations.replaying.recording import EmptyRecordingError, RecordedReading, Recording
from services.operations.replaying.table import WrongFormatError

PM = "sensor_id;sensor_type;location;lat;lon;timestamp;P1;durP1;ratioP1;P2;durP2;ratioP2\n"
BOX = (
    "sensor_id;sensor_type;location;lat;lon;timestamp;"
    "pressure;altitude;pressure_sealevel;temperature;humidity\n"
)
TRAFFIC = (
    "status,avgMeasuredTime,avgSpeed,extID,medianMeasuredTime,TIMESTAMP,"
    "vehicleCount,_id,REPORT_ID\n"
)
SEGMENTS = (
    "REPORT_ID,REPORT_NAME,POINT_1_STREET,POINT_1_CITY,POINT_1_LAT,POINT_1_LNG,"
    "POINT_2_STREET,POINT_2_LAT,POINT_2_LNG\n"
)
TESTS = "datetimestart,datetimestop,provider,server,distance,ping,download,upload\n"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def only(recording: Recording) -> RecordedReading:
    (reading,) = recording.stream()
    return reading


def pm_row(stamp: str, pm10: str = "5.80", location: str = "7") -> str:
    return f"1;SDS011;{location};10.98;106.65;{stamp};{pm10};;;2.03;;\n"


def traffic_row(stamp: str, speed: int, count: int) -> str:
    return f"OK,80,{speed},6,81,{stamp},{count},9,158446\n"


class TestSensorCommunity:
    def test_naive_stamps_are_utc_and_p1_is_pm10(self, tmp_path: Path) -> None:
        reading = only(
            sensor_community.read([write(tmp_path, "a.csv", PM + pm_row("2018-10-28T02:30:00"))])
        )
        assert (reading.device_id, reading.part) == ("sc-7", "sds011")
        assert reading.time == datetime(2018, 10, 28, 2, 30, tzinfo=UTC)
        assert reading.interval_s is None
        assert reading.values == {"pm10_ugm3": Decimal("5.80"), "pm2_5_ugm3": Decimal("2.03")}

    def test_pascal_become_hectopascal_to_the_last_digit(self, tmp_path: Path) -> None:
        row = "2;BME280;7;10.98;106.65;2018-10-22T00:01:36;103031.84;;;6.75;74.58\n"
        reading = only(sensor_community.read([write(tmp_path, "a.csv", BOX + row)]))
        assert b'"pressure_hpa":1030.3184,' in reading.payload()

    @pytest.mark.parametrize("mark", ["", "nan", "NA", "None", "unavailable"])
    def test_a_missing_mark_leaves_the_channel_out(self, tmp_path: Path, mark: str) -> None:
        path = write(tmp_path, "a.csv", PM + pm_row("2018-10-22T00:00:00", mark))
        assert only(sensor_community.read([path])).values == {"pm2_5_ugm3": Decimal("2.03")}

    def test_sensors_of_one_location_are_parts_of_one_device(self, tmp_path: Path) -> None:
        box = "2;BME280;7;10.98;106.65;2018-10-22T00:01:36;103031.84;;;6.75;74.58\n"
        write(tmp_path, "box.csv", BOX + box)
        write(tmp_path, "pm.csv", PM + pm_row("2018-10-22T00:01:35"))
        recording = sensor_community.read([tmp_path])
        (device,) = recording.devices
        (site,) = recording.sites
        assert (device.device_id, device.origin) == ("sc-7", Origin.RECORDED)
        assert device.data_from == datetime(2018, 10, 22, 0, 1, 35, tzinfo=UTC)
        assert device.expected_from is None
        assert device.licence is not None
        assert "ODbL" in device.licence
        assert (site.latitude, site.longitude) == (10.98, 106.65)
        assert {deployment.part for deployment in recording.deployments} == {"sds011", "bme280"}

    def test_files_are_merged_by_time(self, tmp_path: Path) -> None:
        write(tmp_path, "b.csv", PM + pm_row("2018-10-22T00:00:00") + pm_row("2018-10-22T00:05:00"))
        write(tmp_path, "a.csv", PM + pm_row("2018-10-22T00:02:00", location="8"))
        recording = sensor_community.read([tmp_path])
        assert [reading.time.minute for reading in recording.stream()] == [0, 2, 5]
        assert recording.count == 3
        assert recording.last_at - recording.first_at == timedelta(minutes=5)

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            ("1;SDS011;7;10.98;106.65;2018-10-22T00:00:00;5.8\n", "short row"),
            (pm_row("2018-10-22T00:00:00").rstrip("\n") + ";1\n", "long row"),
            (pm_row("2018-10-22"), "bad time"),
            (pm_row("2018-13-22T00:00:00"), "bad time"),
            (pm_row("2018-10-22T00:00:00", "5,8"), "bad value"),
            (pm_row("2018-10-22T00:00:00", "Infinity"), "bad value"),
            (pm_row("2018-10-22T00:00:00", "1_000"), "bad value"),
            (pm_row("2018-10-22T00:00:00", "1e999"), "bad value"),
            (pm_row("2018-10-22T00:00:00", location="a/#"), "bad device"),
        ],
    )
    def test_a_bad_row_is_told_with_its_line_and_harms_only_itself(
        self, tmp_path: Path, row: str, reason: str
    ) -> None:
        good = pm_row("2018-10-22T00:02:30")
        recording = sensor_community.read([write(tmp_path, "a.csv", PM + good + row + good)])
        assert recording.count == len(list(recording.stream())) == 2
        assert recording.skipped.by_reason == {reason: 1}
        assert recording.skipped.examples[0].startswith(f"a.csv:3: {reason}: ")

    def test_a_stray_quote_and_a_broken_character_cost_one_row_each(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        rows = [pm_row("2018-10-22T00:00:00", value) for value in ('"5.8', "1.0", "\x80", "2.0")]
        path.write_bytes((PM + "".join(rows)).encode("latin-1"))
        recording = sensor_community.read([path])
        assert recording.count == 2
        assert recording.skipped.by_reason == {"bad value": 2}

    def test_duplicate_stamps_stay_for_the_pipeline_to_judge(self, tmp_path: Path) -> None:
        twice = pm_row("2018-10-22T00:00:00") + pm_row("2018-10-22T00:00:00", "9.9")
        assert sensor_community.read([write(tmp_path, "a.csv", PM + twice)]).count == 2

    def test_another_file_is_refused_with_the_header_that_was_expected(
        self, tmp_path: Path
    ) -> None:
        path = write(tmp_path, "a.csv", TRAFFIC)
        with pytest.raises(WrongFormatError, match="sensor_id;sensor_type;location;lat;lon"):
            sensor_community.read([path])

    def test_binary_and_empty_files_are_refused_with_a_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_bytes(bytes(range(256)) * 1000)
        with pytest.raises(WrongFormatError):
            sensor_community.read([tmp_path])
        with pytest.raises(WrongFormatError):
            sensor_community.read([write(tmp_path, "a.csv", "")])

    def test_a_file_of_no_readings_is_an_error_that_says_why(self, tmp_path: Path) -> None:
        path = write(tmp_path, "a.csv", PM + pm_row("yesterday"))
        with pytest.raises(EmptyRecordingError, match="bad time: 1"):
            sensor_community.read([path])


class TestCityPulse:
    def test_a_row_covers_five_minutes_from_its_stamp_in_utc(self, tmp_path: Path) -> None:
        text = TRAFFIC + traffic_row("2014-08-01T07:50:00", 106, 33)
        reading = only(citypulse.read([write(tmp_path, "a.csv", text)]))
        assert (reading.device_id, reading.interval_s) == ("citypulse-158446", 300)
        assert reading.time == datetime(2014, 8, 1, 7, 50, tzinfo=UTC)
        assert reading.values == {"vehicles": 33, "speed_kmh": 106, "travel_time_s": 80}
        assert reading.extra == {"median_travel_time_s": 81}

    def test_count_0_with_speed_0_is_a_reading_without_values(self, tmp_path: Path) -> None:
        text = TRAFFIC + traffic_row("2014-08-01T07:50:00", 0, 0)
        reading = only(citypulse.read([write(tmp_path, "a.csv", text)]))
        assert reading.values == {}
        assert reading.payload() == b'{"time":"2014-08-01T07:50:00Z","interval_s":300}'

    def test_a_speed_carried_on_while_nothing_is_counted_is_no_measurement(
        self, tmp_path: Path
    ) -> None:
        text = TRAFFIC + traffic_row("2014-08-01T07:50:00", 106, 0)
        reading = only(citypulse.read([write(tmp_path, "a.csv", text)]))
        assert reading.values == {"vehicles": 0}
        assert reading.extra == {}

    def test_a_step_back_keeps_the_order_and_data_begins_at_the_earliest(
        self, tmp_path: Path
    ) -> None:
        stamps = ("2014-08-01T08:00:00", "2014-08-01T07:50:00", "2014-08-01T08:00:00")
        text = TRAFFIC + "".join(traffic_row(stamp, 50, 5) for stamp in stamps)
        recording = citypulse.read([write(tmp_path, "a.csv", text)])
        assert [reading.time.minute for reading in recording.stream()] == [0, 50, 0]
        assert recording.devices[0].data_from == datetime(2014, 8, 1, 7, 50, tzinfo=UTC)

    @pytest.mark.parametrize("given", [True, False])
    def test_a_segment_lies_between_its_end_points(self, tmp_path: Path, given: bool) -> None:
        about = write(
            tmp_path,
            "trafficMetaData.csv",
            SEGMENTS + '158446,AAR 1,"Long Road, north",Aarhus,56.0,10.0,Hill,57.0,11.0\n',
        )
        data = write(tmp_path, "a.csv", TRAFFIC + traffic_row("2014-08-01T07:50:00", 50, 5))
        recording = citypulse.read([data, about] if given else [data])
        (site,) = recording.sites
        assert (site.latitude, site.longitude) == (56.5, 10.5)
        assert site.road_segment == "LINESTRING (10.0 56.0, 11.0 57.0)"
        assert site.name == "Long Road, north to Hill, Aarhus (AAR 1)"
        assert recording.notices == ()

    def test_without_metadata_it_says_that_there_are_no_coordinates(self, tmp_path: Path) -> None:
        data = write(tmp_path, "a.csv", TRAFFIC + traffic_row("2014-08-01T07:50:00", 50, 5))
        recording = citypulse.read([data])
        assert recording.sites[0].latitude is None
        assert "citypulse-158446" in recording.notices[0]


class TestTelstra:
    ROW = (
        "2017-10-14 00:30:01,2017-10-14 00:30:39,Telstra,Internode (Brisbane),5.31,16.4,28.5,1.1\n"
    )

    def test_stamps_are_aest_and_the_test_lasts_between_them(self, tmp_path: Path) -> None:
        reading = only(telstra.read([write(tmp_path, "a.csv", TESTS + self.ROW)]))
        assert (reading.device_id, reading.interval_s) == ("telstra-brisbane", None)
        assert reading.time == datetime(2017, 10, 13, 14, 30, 1, tzinfo=UTC)
        assert reading.values == {
            "download_mbps": Decimal("28.5"),
            "upload_mbps": Decimal("1.1"),
            "latency_ms": Decimal("16.4"),
            "duration_s": 38,
        }
        assert reading.texts == {"server": "Internode (Brisbane)", "isp": "Telstra"}
        assert reading.extra == {"distance_km": Decimal("5.31")}

    def test_queensland_keeps_no_summer_time(self, tmp_path: Path) -> None:
        winter = self.ROW.replace("2017-10-14", "2018-07-14")
        recording = telstra.read([write(tmp_path, "a.csv", TESTS + self.ROW + winter)])
        assert {reading.time.hour for reading in recording.stream()} == {14}


READ = {
    "sensor-community": (sensor_community.read, PM + pm_row("2018-10-22T00:00:00")),
    "citypulse": (citypulse.read, TRAFFIC + traffic_row("2014-08-01T07:50:00", 106, 33)),
    "telstra": (telstra.read, TESTS + TestTelstra.ROW),
}


@pytest.mark.parametrize("name", READ)
def test_production_decodes_what_a_reader_makes(name: str, tmp_path: Path) -> None:
    read, text = READ[name]
    reading = only(read([write(tmp_path, "a.csv", text)]))
    result = decode(Message(topic=reading.topic(), payload=reading.payload()))
    assert isinstance(result, Decoded)
    (decoded,) = result.readings
    assert decoded.refusal is None
    assert (decoded.device_id, decoded.part, decoded.time) == (
        reading.device_id,
        reading.part,
        reading.time,
    )
    assert decoded.values == {name: float(value) for name, value in reading.values.items()}
    assert decoded.texts == reading.texts
    assert set(decoded.extra or {}) == set(reading.extra)


@pytest.mark.parametrize("name", READ)
def test_the_registry_takes_what_a_reader_registers(name: str, tmp_path: Path) -> None:
    read, text = READ[name]
    recording = read([write(tmp_path, "a.csv", text)])
    items: list[Device | Site | Deployment] = [
        *recording.devices,
        *recording.sites,
        *recording.deployments,
    ]
    for item in items:
        check(item)
