"""The doors of decoding (declared with the other contracts in ``schemas.messages``)."""

from schemas.messages import Decoded, Liveness, Message, Reading, Refusal, Result, Undecodable

__all__ = ["Decoded", "Liveness", "Message", "Reading", "Refusal", "Result", "Undecodable"]
