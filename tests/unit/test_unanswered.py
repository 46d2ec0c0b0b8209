"""What waits for its answer, held to a plain dict: however answers come, each number once."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.common.publish_packets import PACKET_IDS, Acknowledged, Message
from services.common.unanswered import Unanswered


class AgainstADict(RuleBasedStateMachine):
    """Messages are sent, and answered in turn, out of turn, twice, or without having been sent."""

    def __init__(self) -> None:
        super().__init__()
        self.unanswered = Unanswered()
        self.waiting: dict[int, Message] = {}
        self.sent = 0

    @rule(count=st.integers(1, 5))
    def send(self, count: int) -> None:
        self.send_many(count)

    @rule(count=st.sampled_from([1000, 30_000]))
    def send_many(self, count: int) -> None:
        count = min(count, PACKET_IDS - (self.unanswered.next - self.unanswered.oldest))
        messages = [("t", b"%d" % (self.sent + n)) for n in range(count)]
        assert self.unanswered.next == self.sent
        self.unanswered.add(messages)
        self.waiting |= dict(enumerate(messages, self.sent))
        self.sent += count

    @rule(place=st.one_of(st.just(0), st.integers(0, 8)), count=st.integers(1, 6))
    def answer(self, place: int, count: int) -> None:
        oldest = min(self.waiting, default=self.sent)
        numbers = range(oldest + place, oldest + place + count)
        due = [number for number in numbers if self.waiting.pop(number, None) is not None]
        first = numbers[0] % PACKET_IDS + 1
        assert list(self.unanswered.settle(Acknowledged(first, 0, count))) == due

    @rule()
    def answer_all(self) -> None:
        count = self.unanswered.next - self.unanswered.oldest
        if count:
            first = self.unanswered.oldest % PACKET_IDS + 1
            told = self.unanswered.settle(Acknowledged(first, 0, count))
            assert list(told) == list(self.waiting)
            self.waiting.clear()

    @invariant()
    def the_same_waits(self) -> None:
        assert len(self.unanswered) == len(self.waiting)
        assert self.unanswered.oldest == min(self.waiting, default=self.sent)

    def teardown(self) -> None:
        assert list(self.unanswered) == list(self.waiting.items())


TestAgainstADict = AgainstADict.TestCase
TestAgainstADict.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("packet_id", [0, 4, PACKET_IDS])
def test_an_answer_to_what_was_not_sent_settles_nothing(packet_id: int) -> None:
    unanswered = Unanswered()
    unanswered.add([("t", b"")] * 3)
    assert not unanswered.settle(Acknowledged(packet_id, 0))
    assert len(unanswered) == 3
