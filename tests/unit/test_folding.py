"""Copies of one identity become one row, whatever brings them (P2)."""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.messages import Reading
from schemas.outcomes import Outcome
from services.storage.batches import Copy
from services.storage.folding import Row, Values, first, fold
from tests.support.batches import Log, reading

WRITTEN, MERGED, DUPLICATE = Outcome.WRITTEN, Outcome.MERGED, Outcome.DUPLICATE
CORRECTED, QUARANTINED = Outcome.CORRECTED, Outcome.QUARANTINED

CHANNELS = ("pm2_5_ugm3", "pm10_ugm3", "temperature_c")


def flag(level: int) -> dict[str, Any]:
    return {"flag": level, "why": "a test", "original": 1.0, "original_unit": "µg/m³"}


@st.composite
def readings(draw: st.DrawFn, consistent: dict[str, float] | None = None) -> Reading:
    """One reading: some channels with a value, others withheld, an interval, other fields."""
    channels = draw(st.sets(st.sampled_from(CHANNELS)))
    values = {
        name: consistent[name] if consistent else draw(st.sampled_from([1.0, 2.0]))
        for name in channels
    }
    withheld = draw(st.sets(st.sampled_from(CHANNELS))) - channels
    suspect = draw(st.sets(st.sampled_from(sorted(channels)))) if channels else set()
    return reading(
        values=values,
        flags={name: flag(4) for name in withheld} | {name: flag(3) for name in suspect},
        interval_s=draw(st.sampled_from([None, 60.0])),
        extra=draw(st.dictionaries(st.sampled_from("ab"), st.integers(1, 2))),
    )


def in_batches(copies: Sequence[Copy], cuts: set[int]) -> tuple[Row, list[Outcome]]:
    """Fold copies batch by batch, as ingest would if it cut them there."""
    row: Row | None = None
    fates = []
    edges = [0, *sorted(cut for cut in cuts if 0 < cut < len(copies)), len(copies)]
    for start, end in itertools.pairwise(edges):
        folded = fold(row, copies[start:end])
        row = folded.row
        fates += [fate.outcome for fate in folded.fates]
    assert row is not None
    return row, fates


@given(st.lists(readings(), min_size=1, max_size=6), st.sets(st.integers(1, 5)))
def test_any_split_of_one_order_gives_the_same_row_and_the_same_outcomes(
    said: list[Reading], cuts: set[int]
) -> None:
    copies = Log().copies(said)

    assert in_batches(copies, cuts) == in_batches(copies, set())


@given(
    st.lists(readings(consistent=dict.fromkeys(CHANNELS, 5.0)), min_size=1, max_size=6).flatmap(
        lambda said: st.tuples(st.just(said), st.permutations(said))
    )
)
def test_any_order_gives_the_same_values_where_nothing_conflicts(
    orders: tuple[list[Reading], list[Reading]],
) -> None:
    (one, fates), (other, other_fates) = (in_batches(Log().copies(o), set()) for o in orders)

    assert one.values == other.values
    assert {n: f["flag"] for n, f in one.flags.items()} == {
        n: f["flag"] for n, f in other.flags.items()
    }
    for outcome in (WRITTEN, QUARANTINED, CORRECTED):  # merged and duplicate may trade places
        assert Counter(fates)[outcome] == Counter(other_fates)[outcome]


def outcomes_of(*said: Reading, former: Sequence[Values] = (), replace: bool = False) -> list[str]:
    folded = fold(None, Log().copies(said), former, replace=replace)
    return [fate.outcome.value for fate in folded.fates]


def test_the_same_values_again_are_a_duplicate() -> None:
    one = reading(values={"pm2_5_ugm3": 1.0})

    assert outcomes_of(one, one) == ["written", "duplicate"]


def test_a_part_of_what_is_known_is_a_duplicate() -> None:
    whole = reading(values={"pm2_5_ugm3": 1.0, "pm10_ugm3": 2.0})

    assert outcomes_of(whole, reading(values={"pm10_ugm3": 2.0})) == ["written", "duplicate"]


def test_what_only_fills_is_merged() -> None:
    said = [reading(values={name: 1.0}) for name in CHANNELS]

    assert outcomes_of(*said) == ["written", "merged", "merged"]


def test_another_value_refuses_the_whole_reading_and_shows_both() -> None:
    first_copy = reading(values={"pm2_5_ugm3": 1.0})
    other = reading(values={"pm2_5_ugm3": 2.0, "pm10_ugm3": 3.0})

    folded = fold(None, Log().copies([first_copy, other]))

    refusal = folded.fates[1].refusal
    assert folded.row.values == {"pm2_5_ugm3": 1.0}
    assert refusal is not None
    assert refusal.reason == "conflict"
    assert "pm2_5_ugm3: stored 1.0, sent 2.0" in refusal.detail


def test_who_repeats_an_earlier_version_is_a_duplicate() -> None:
    now, once = reading(values={"pm2_5_ugm3": 2.0}), reading(values={"pm2_5_ugm3": 1.0})

    assert outcomes_of(now, once, former=[{"pm2_5_ugm3": 1.0}]) == ["written", "duplicate"]


def test_who_says_more_than_an_earlier_version_is_a_conflict() -> None:
    now = reading(values={"pm2_5_ugm3": 2.0})
    more = reading(values={"pm2_5_ugm3": 1.0, "pm10_ugm3": 3.0})

    assert outcomes_of(now, more, former=[{"pm2_5_ugm3": 1.0}]) == ["written", "quarantined"]


def test_an_accepted_conflict_replaces_and_brings_its_own_flag() -> None:
    stored = first(Log().copies([reading(values={"pm2_5_ugm3": 1.0})])[0])
    stored.flags["pm2_5_ugm3"] = flag(3)

    folded = fold(stored, Log().copies([reading(values={"pm2_5_ugm3": 2.0})]), replace=True)

    assert [fate.outcome for fate in folded.fates] == [CORRECTED]
    assert folded.row.values == {"pm2_5_ugm3": 2.0}
    assert folded.row.flags == {}


def test_a_value_takes_the_place_of_the_note_that_it_was_withheld() -> None:
    withheld = reading(flags={"pm2_5_ugm3": flag(4)})

    folded = fold(None, Log().copies([withheld, reading(values={"pm2_5_ugm3": 2.0})]))

    assert folded.row.flags == {}
    assert [fate.outcome for fate in folded.fates] == [WRITTEN, MERGED]


def test_a_changed_row_names_the_message_that_changed_it_and_a_duplicate_does_not() -> None:
    log = Log()
    copies = log.copies([reading(values={"pm2_5_ugm3": 1.0}), reading(values={"pm10_ugm3": 1.0})])
    again = log.copies([reading(values={"pm10_ugm3": 1.0})])

    assert fold(None, copies).row.offset == 1
    assert fold(None, [*copies, *again]).row.offset == 1


def test_folding_leaves_the_reading_as_it_is() -> None:
    one = reading(values={"pm2_5_ugm3": 1.0}, flags={"pm10_ugm3": flag(4)}, extra={"a": 1})
    more = reading(values={"pm10_ugm3": 1.0}, extra={"b": 2})

    fold(None, Log().copies([one, more]))

    assert (one.values, list(one.flags or {}), one.extra) == (
        {"pm2_5_ugm3": 1.0}, ["pm10_ugm3"], {"a": 1},
    )  # fmt: skip
