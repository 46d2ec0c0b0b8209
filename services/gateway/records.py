"""Kafka's record batches, built as bytes: all messages of a chunk that go to one partition.

aiokafka packs each header of each record anew, at some 2 µs a message under load; here the headers
of alike messages are the same bytes. The format is Kafka's documentation, "Message Format",
version 2. A property test holds both to the same bytes.
"""

import struct
from collections.abc import Sequence

from aiokafka.record.util import calc_crc32c

from services.gateway.messages import FLAG_COMBINATIONS, Header, Message, flag_headers

_BEFORE_CRC = struct.Struct(">qiibI")
"""Base offset, length of what follows the length, leader's epoch, format, CRC of what follows."""
_AFTER_CRC = struct.Struct(">hiqqqhii")
"""Attributes, last offset delta, first and highest timestamp, producer's id, epoch and sequence,
number of records."""
_AFTER_LENGTH = _BEFORE_CRC.size - struct.calcsize(">qi")
_NOBODY, _FORMAT = -1, 2
_READY_MADE = 1 << 13


def _varint(number: int) -> bytes:
    """Return a number from 0 on as it travels: doubled, seven bits a byte, the lowest first."""
    rest, octets = number << 1, bytearray()
    while rest > 0x7F:  # noqa: PLR2004 -- all that the last byte holds
        octets.append(rest & 0x7F | 0x80)
        rest >>= 7
    octets.append(rest)
    return bytes(octets)


class _Varints(dict[int, bytes]):
    """Numbers as they travel; small ones, as nearly all are, are ready made."""

    def __missing__(self, number: int) -> bytes:
        return _varint(number)


_VARINTS = _Varints({number: _varint(number) for number in range(_READY_MADE)})


class RecordHeaders:
    """The headers of a chunk's records as they travel; ``plain`` has them by a message's flags."""

    def __init__(self, slot: str, gateway_time_ms: int) -> None:
        self._place = _packed(("slot", slot.encode()), ("gateway_time", b"%d" % gateway_time_ms))
        self.plain = [_PLAIN_NUMBER + self._place + each for each in _OF_FLAGS]

    def noted(self, flags: int, note: Header) -> bytes:
        """Return the headers of a message with a note."""
        return _NOTED_NUMBER + self._place + _OF_FLAGS[flags] + _packed(note)


def record_batch(messages: Sequence[Message], headers: RecordHeaders, now_ms: int) -> bytes:
    """Return a batch of one record a message: topic as key, payload as value."""
    plain, varints, join = headers.plain, _VARINTS, b"".join
    records = [
        join((
            b"\0\0", varints[at], varints[len(topic)], topic, varints[len(payload)], payload,
            plain[flags] if note is None else headers.noted(flags, note),
        ))
        for at, (topic, payload, _, flags, note) in enumerate(messages)
    ]  # fmt: skip
    n = len(records)
    parts = [_AFTER_CRC.pack(0, n - 1, now_ms, now_ms, _NOBODY, _NOBODY, 0, n)] * (2 * n + 1)
    parts[1::2] = [varints[len(record)] for record in records]
    parts[2::2] = records
    after_crc = join(parts)
    length = _AFTER_LENGTH + len(after_crc)
    return _BEFORE_CRC.pack(0, length, _NOBODY, _FORMAT, calc_crc32c(after_crc)) + after_crc


def _packed(*headers: Header) -> bytes:
    return b"".join(
        _VARINTS[len(name)] + name.encode() + _VARINTS[len(value)] + value
        for name, value in headers
    )


_OF_FLAGS = [_packed(*flag_headers(flags)) for flags in range(FLAG_COMBINATIONS)]
_PLAIN_NUMBER, _NOTED_NUMBER = _VARINTS[5], _VARINTS[6]
