"""Our record batches are aiokafka's, byte for byte, whatever is in them."""

from aiokafka.producer.message_accumulator import BatchBuilder
from hypothesis import given
from hypothesis import strategies as some

from services.gateway.messages import FLAG_COMBINATIONS, Header, Message
from services.gateway.records import RecordHeaders, record_batch

SLOT, GATEWAY_TIME_MS, NOW_MS = "gateway-7", 1_700_000_000_000, 1_700_000_000_123


def stock(messages: list[Message]) -> bytes:
    batch = BatchBuilder(1 << 30, 0)
    for topic, payload, _, flags, note in messages:
        headers: list[Header] = [
            ("slot", SLOT.encode()),
            ("gateway_time", str(GATEWAY_TIME_MS).encode()),
            ("qos", str(flags & 3).encode()),
            ("retain", b"1" if flags & 4 else b"0"),
            ("dup", b"1" if flags & 8 else b"0"),
        ]
        if note is not None:
            headers.append(note)
        batch.append(timestamp=NOW_MS, key=topic, value=payload, headers=headers)
    return bytes(batch._build())


def ours(messages: list[Message]) -> bytes:
    return record_batch(messages, RecordHeaders(SLOT, GATEWAY_TIME_MS), NOW_MS)


notes = some.one_of(
    some.none(), some.tuples(some.sampled_from(["oversize", "refused"]), some.binary(max_size=200))
)
messages = some.tuples(
    some.binary(max_size=200),
    some.binary(max_size=300),
    some.binary(max_size=2),
    some.integers(0, FLAG_COMBINATIONS - 1),
    notes,
)


@given(some.lists(messages, min_size=1, max_size=20))
def test_any_batch(batch: list[Message]) -> None:
    assert ours(batch) == stock(batch)


def test_sizes_at_the_edges_of_their_encoding() -> None:
    sizes = [0, 63, 64, 8_191, 8_192, 1_048_575, 1_048_576]
    batch: list[Message] = [(b"t" * min(size, 65_535), b"x" * size, b"", 1, None) for size in sizes]

    assert ours(batch) == stock(batch)


def test_more_records_than_are_ready_made() -> None:
    batch: list[Message] = [(b"t", b"%d" % number, b"", 1, None) for number in range(10_000)]

    assert ours(batch) == stock(batch)
