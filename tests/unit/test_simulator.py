"""The simulated city: the same seed is the same city, and it looks like one."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from schemas import registry
from schemas.channels import CHANNELS, TEXTS
from schemas.messages import Decoded, Message
from services.decoding.detect import decode
from services.decoding.judging import Device, judge
from services.simulator import city as cities
from services.simulator import curves
from services.simulator.city import Models, SimulatedDevice, city
from services.simulator.curves import Moment
from services.simulator.faults import NO_FAULTS
from services.simulator.noise import normal, smooth, unit
from services.simulator.observing import observe
from services.simulator.sending import Composer

MONDAY_S = 1_762_102_800
"""Midnight of Monday 3 November 2025 in Viet Nam."""
HOUR_S = 3600


def device_of(model: Models) -> SimulatedDevice:
    return next(device for device in city(1, 20) if device.model is model.value)


class TestNoise:
    def test_it_depends_on_its_keys_and_on_nothing_else(self) -> None:
        assert unit(1, 2) == unit(1, 2)
        assert len({unit(1, 2), unit(2, 1), unit(1), unit(-1)}) == 4

    def test_its_numbers_are_spread_as_they_should_be(self) -> None:
        units = [unit(7, n) for n in range(10_000)]
        normals = [normal(7, n) for n in range(10_000)]
        assert 0.49 < sum(units) / 10_000 < 0.51
        assert -0.05 < sum(normals) / 10_000 < 0.05
        assert 0.95 < sum(n * n for n in normals) / 10_000 < 1.05

    def test_smooth_noise_does_not_jump(self) -> None:
        values = [smooth(3, second, 600) for second in range(0, 36_000, 10)]
        assert max(abs(after - before) for before, after in pairwise(values)) < 0.15


class TestCurves:
    def test_local_time_is_seven_hours_ahead(self) -> None:
        at = curves.moment(MONDAY_S + 7.5 * HOUR_S)
        assert (at.hour, at.weekday) == (7.5, 0)
        assert 10 < at.month < 10.2

    def test_particles_peak_in_the_morning(self) -> None:
        by_hour = [curves.pm2_5_ugm3(Moment(hour, 0, 1.0)) for hour in range(24)]
        assert by_hour.index(max(by_hour)) in (7, 8)
        assert by_hour.index(min(by_hour)) in (13, 14, 15)

    def test_a_working_day_has_two_rush_hours_and_a_sunday_none_in_the_morning(self) -> None:
        monday = [curves.traffic(Moment(hour, 0, 1.0)) for hour in range(24)]
        sunday = [curves.traffic(Moment(hour, 6, 1.0)) for hour in range(24)]
        assert max(monday[:12]) == monday[7]
        assert max(monday[12:]) == monday[17]
        assert monday[3] < monday[10] < monday[7]
        assert sunday[7] < monday[7] / 2


class TestObserving:
    def test_motorcycles_dominate_and_vehicles_are_their_sum(self) -> None:
        fields = observe(device_of(Models.ARTERIAL), MONDAY_S + 7 * HOUR_S)
        classes = ("motorcycles", "cars", "vans", "buses", "trucks")
        assert fields["vehicles"] == sum(int(fields[name]) for name in classes)
        assert int(fields["motorcycles"]) > int(fields["vehicles"]) / 2

    def test_rush_hour_is_slower_than_night(self) -> None:
        street = device_of(Models.ARTERIAL)
        rush, night = (observe(street, MONDAY_S + hour * HOUR_S) for hour in (7, 23))
        assert float(rush["speed_kmh"]) < float(night["speed_kmh"])

    def test_the_network_is_slowest_in_the_evening(self) -> None:
        line = device_of(Models.LINE)
        morning, noon, evening = (
            float(observe(line, MONDAY_S + hour * HOUR_S)["download_mbps"]) for hour in (4, 11, 21)
        )
        assert evening < 0.9 * min(morning, noon)

    @pytest.mark.parametrize("model", Models)
    def test_every_reading_of_a_year_is_plausible_to_production(self, model: Models) -> None:
        device = device_of(model)
        composer = Composer(NO_FAULTS)
        registered = Device(device.device_id, device_type=device.model.device_type)
        for step in range(400):
            time_ms = (MONDAY_S + step * 79_201) * 1000
            sending = composer.single(device, time_ms, None)
            result = decode(Message(topic=sending.topic, payload=sending.payload))
            assert isinstance(result, Decoded)
            (reading,) = result.readings
            judged = judge(
                reading, registered, received_at=datetime.fromtimestamp(time_ms / 1000, UTC)
            )
            assert (judged.refusal, judged.flags) == (None, None)
            assert judged.time == datetime.fromtimestamp(time_ms / 1000, UTC)

    @pytest.mark.parametrize("model", Models)
    def test_every_field_is_a_channel_or_text_of_its_kind(self, model: Models) -> None:
        kind = model.value.kind
        fields = observe(device_of(model), MONDAY_S)
        assert set(fields) <= set(CHANNELS[kind]) | set(TEXTS[kind])


class TestCity:
    def test_the_same_seed_is_the_same_city_and_a_larger_one_contains_it(self) -> None:
        assert city(5, 20) == city(5, 40)[:20]
        assert {device.device_id for device in city(5, 20)}.isdisjoint(
            device.device_id for device in city(6, 20)
        )

    def test_three_devices_are_of_three_kinds(self) -> None:
        assert {device.model.kind for device in city(1, 3)} == set(CHANNELS)

    def test_the_registry_takes_it(self) -> None:
        devices = city(1, 300)
        since = datetime(2025, 11, 3, tzinfo=UTC)
        registered = list(cities.registry_devices(devices, since))
        items: list[registry.Device | registry.Site | registry.Deployment] = [
            *registered,
            *cities.registry_sites(devices),
            *cities.registry_deployments(devices, since),
        ]
        for item in items:
            registry.check(item)
        assert {device.origin for device in registered} == {registry.Origin.SIMULATED}
        assert len({device.device_id for device in registered}) == 300

    def test_all_wards_get_devices_near_their_centre(self) -> None:
        devices = city(1, 1000)
        assert {device.ward for device in devices} == set(cities.wards())
        assert all(abs(device.latitude - device.ward.latitude) < 0.02 for device in devices)

    @pytest.mark.parametrize("model", Models)
    def test_any_split_of_time_gives_the_same_readings(self, model: Models) -> None:
        device = device_of(model)
        begin, end = MONDAY_S * 1000 + 123, (MONDAY_S + 4 * HOUR_S) * 1000 + 456
        whole = device.times_ms(begin, end)
        cut = begin + 7_654_321
        assert [*device.times_ms(begin, cut), *device.times_ms(cut, end)] == list(whole)
        assert all(begin <= device.due_ms(time_ms) < end for time_ms in whole)

    def test_a_rate_factor_leaves_what_covers_an_interval_alone(self) -> None:
        for plain, faster in zip(city(1, 20), city(1, 20, rate_factor=10), strict=True):
            expected = plain.period_ms / (10 if plain.model.interval_s is None else 1)
            assert faster.period_ms == expected
