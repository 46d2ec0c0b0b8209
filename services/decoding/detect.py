"""Where decoding begins: a message comes in, a result goes out, whatever the message is.

1. What the gateway withheld is accounted for by its header.
2. The topic says which conventions may read the message.
3. Its shape says which of them does.
"""

from collections.abc import Sequence

from schemas.messages import Message, Refusal, Result, Undecodable
from schemas.reasons import Reason
from services.decoding.convention import NO_FACTS, Convention, Facts
from services.decoding.conventions import native
from services.decoding.shown import shown

CONVENTIONS: tuple[Convention, ...] = (native,)


def decode_batch(
    messages: Sequence[Message],
    facts: Facts = NO_FACTS,
    conventions: Sequence[Convention] = CONVENTIONS,
) -> list[Result]:
    """Decode messages in their order, one result each; see `decode`."""
    return [decode(message, facts, conventions) for message in messages]


def decode(
    message: Message, facts: Facts = NO_FACTS, conventions: Sequence[Convention] = CONVENTIONS
) -> Result:
    """Return what a message says. Never raises, and takes time proportional to its length.

    Readings are not judged yet: bounds, sentinels and the registry are `judging.judge`'s.
    """
    try:
        return _decode(message, facts, conventions)
    except Exception as error:  # noqa: BLE001 # the one place: a broken decoder harms one message
        return Undecodable(None, Refusal(Reason.DECODER_FAILED, _describe(error)))


def _decode(message: Message, facts: Facts, conventions: Sequence[Convention]) -> Result:
    if message.oversize is not None or message.refused is not None:
        return _withheld(message)
    claimed = False
    for convention in conventions:
        if convention.claims(message.topic):
            claimed = True
            result = convention.decode(message, facts)
            if result is not None:
                return result
    return _unclaimed(message.topic, claimed=claimed)


def _withheld(message: Message) -> Undecodable:
    if message.oversize is not None:
        detail = f"a payload of {message.oversize} bytes is too large: the gateway left it out"
    else:
        detail = f"Kafka refused the payload: {message.refused}"
    return Undecodable(None, Refusal(Reason.TOO_LARGE, detail))


def _unclaimed(topic: str, *, claimed: bool) -> Undecodable:
    if claimed:
        detail = "a convention claims this topic, but the payload has the shape of none"
        return Undecodable(None, Refusal(Reason.UNKNOWN_CONVENTION, detail))
    detail = f"no convention reads the topic {shown(topic)[9:]}"
    return Undecodable(None, Refusal(Reason.UNKNOWN_TOPIC, detail))


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"
