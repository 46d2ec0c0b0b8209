"""Messages that were sent and wait for their answer, by number: memory only, no I/O."""

from collections.abc import Iterator, Sequence

from services.common.publish_packets import PACKET_IDS, Acknowledged, Message


class Unanswered:
    """The messages without an answer, and the numbers from the oldest of them to the next one.

    Answers come in the order of sending, many at once, and then cost a slice; one that comes out
    of turn leaves a hole until all before it are answered.
    """

    def __init__(self) -> None:
        self.oldest = 0
        self._messages: list[Message | None] = []  # from the oldest on; None is a hole
        self._holes = 0

    def __len__(self) -> int:
        return len(self._messages) - self._holes

    def __iter__(self) -> Iterator[tuple[int, Message]]:
        """Yield each number and message without an answer, oldest first."""
        for number, message in enumerate(self._messages, self.oldest):
            if message is not None:
                yield number, message

    @property
    def next(self) -> int:
        """The number of the message that is added next."""
        return self.oldest + len(self._messages)

    def add(self, messages: Sequence[Message]) -> None:
        """Take in messages that were sent, numbered from ``next`` on."""
        self._messages += messages

    def settle(self, answer: Acknowledged) -> Sequence[int]:
        """Take in an answer, and return the numbers for which it is the first one."""
        begin = (answer.packet_id - 1 - self.oldest) % PACKET_IDS
        places = range(begin, min(begin + answer.count, len(self._messages)))
        if begin or self._holes:
            return self._settle_out_of_turn(places)
        numbers = range(self.oldest, self.oldest + len(places))
        self._forget(len(places))
        return numbers

    def _settle_out_of_turn(self, places: range) -> list[int]:
        found = [place for place in places if self._messages[place] is not None]
        numbers = [self.oldest + place for place in found]
        for place in found:
            self._messages[place] = None
        answered = next(
            (place for place, message in enumerate(self._messages) if message is not None),
            len(self._messages),
        )
        self._holes += len(found) - answered
        self._forget(answered)
        return numbers

    def _forget(self, answered: int) -> None:
        del self._messages[:answered]
        self.oldest += answered
