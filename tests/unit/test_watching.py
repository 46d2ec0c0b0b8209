"""Rates, quantiles and the balance of counters, from numbers that a service would say."""

import math

import pytest

from services.cli.screen import duration, number, rate, seconds, sparkline
from services.operations.watching.rates import NEVER, Flow, Rates, Sample
from services.operations.watching.scraping import merged, parse, quantile, total
from services.operations.watching.sums import sums
from services.storage.figures import Figures

METRICS = """\
# TYPE citytally_ingest_delay_seconds histogram
citytally_ingest_delay_seconds_bucket{le="0.1"} 2.0
citytally_ingest_delay_seconds_bucket{le="0.5"} 8.0
citytally_ingest_delay_seconds_bucket{le="+Inf"} 8.0
citytally_ingest_delay_seconds_count 8.0
citytally_ingest_delay_seconds_sum 1.5
# TYPE citytally_gateway_received_messages counter
citytally_gateway_received_messages_total 7.0
"""


def sample(at: float, n: int, delays: dict[float, float] | None = None) -> Sample:
    return Sample(at, received=n, consumed=n, rows=n, delays=delays or {})


def test_metrics_are_summed_over_services() -> None:
    said = [parse(METRICS, None), parse(METRICS, "starting")]

    assert total(said, "citytally_gateway_received_messages_total") == 14
    assert merged(said, "citytally_ingest_delay_seconds") == {0.1: 4, 0.5: 16, math.inf: 16}


@pytest.mark.parametrize(("share", "expected"), [(0.25, 0.1), (0.5, 0.1 + 0.4 * 2 / 6), (1.0, 0.5)])
def test_a_quantile_lies_within_its_bucket(share: float, expected: float) -> None:
    assert quantile({0.1: 2, 0.5: 8, math.inf: 8}, share) == pytest.approx(expected)


def test_a_quantile_above_all_bounds_is_the_last_bound() -> None:
    assert quantile({0.1: 0, math.inf: 5}, 0.5) == 0.1


def test_without_observations_there_is_no_quantile() -> None:
    assert quantile({0.1: 0, math.inf: 0}, 0.5) is None
    assert quantile({}, 0.5) is None


def test_a_rate_is_taken_over_the_window_only() -> None:
    rates = Rates(window_s=10)
    assert rates.add(sample(0, 0)) == Flow()
    assert rates.add(sample(5, 50)).in_per_s == 10
    rates.add(sample(10, 50))

    assert rates.add(sample(20, 150)).rows_per_s == 10


def test_a_service_that_counts_from_0_again_gives_no_negative_rate() -> None:
    rates = Rates()
    rates.add(sample(0, 100))
    assert rates.add(sample(1, 5)).in_per_s == 0


def test_the_delay_is_of_the_window_not_of_the_whole_life() -> None:
    rates = Rates()
    rates.add(sample(0, 0, {0.1: 1000, 1.0: 1000, math.inf: 1000}))
    flow = rates.add(sample(1, 0, {0.1: 1000, 1.0: 1010, math.inf: 1010}))

    assert flow.delay_p50_s == pytest.approx(0.55)


@pytest.mark.parametrize(
    ("lags", "expected"),
    [((100_000, 90_000), 90.0), ((0, 1_500), 0.0), ((50_000, 60_000), NEVER), ((None, 5), None)],
)
def test_the_time_to_drain_is_the_lag_by_how_fast_it_shrinks(
    lags: tuple[int | None, int], expected: float | None
) -> None:
    rates = Rates()
    rates.add(Sample(0, received=0, consumed=0, rows=0, delays={}, lag=lags[0]))
    flow = rates.add(Sample(10, received=0, consumed=10_000, rows=0, delays={}, lag=lags[1]))

    assert flow.drained_in_s == expected


def figures(**changes: int) -> Figures:
    messages = {"received": 10, "decoded": 8, "undecodable": 1, "liveness": 0, "lost": 1}
    readings = {"decoded": 9, "written": 6, "duplicate": 2, "quarantined": 1}
    return Figures(
        messages=messages | changes, readings=readings, refused=2,
        quarantine={"made": 2, "open": 1, "replayed": 1}, open_by_reason={"schema": 1},
        rows={"traffic": 6}, devices={"real": 1}, unacknowledged_gaps=0, positions={},
    )  # fmt: skip


def test_counters_balance_line_by_line() -> None:
    assert [(one.title, one.n, one.holds) for one in sums(figures())] == [
        ("messages", 10, True),
        ("readings", 9, True),
        ("quarantine", 2, True),
    ]


def test_one_message_more_than_is_accounted_for_does_not_add_up() -> None:
    assert [one.holds for one in sums(figures(received=11))] == [False, True, True]


def test_figures_are_written_as_a_person_reads_them() -> None:
    assert [number(1234567), number(None), rate(2.25), rate(2250)] == [
        "1 234 567", "-", "2.2", "2 250",
    ]  # fmt: skip
    assert [seconds(0.1234), seconds(2.5), seconds(None)] == ["123 ms", "2.5 s", "-"]
    assert [duration(each) for each in (None, 0.0, 90.0, 7200.0, NEVER)] == [
        "-", "0 s", "2 min", "2.0 h", "it grows",
    ]  # fmt: skip
    assert sparkline([0, 5, 10], 2) == "▅█"
