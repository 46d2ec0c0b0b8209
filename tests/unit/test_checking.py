from services.decoding.judging import Device
from services.operations.checking import check, exit_code

TOPIC = "citytally/v1/traffic/counter-1"


def test_without_a_device_it_decodes_as_if_it_were_registered() -> None:
    result = check(TOPIC, b'{"time": 0, "vehicles": 3}')
    assert exit_code(result) == 0
    assert result["readings"][0]["values"] == {"vehicles": 3.0}


def test_with_a_device_any_other_is_unknown() -> None:
    result = check(TOPIC, b'{"time": 0}', device=Device("counter-2"))
    assert result["readings"][0]["reason"] == "unknown_device"
    assert exit_code(result) == 1


def test_no_reading_is_nothing_wrong() -> None:
    result = check(TOPIC, b"[]")
    assert (result["outcome"], result["readings"], exit_code(result)) == ("readings", [], 0)


def test_a_payload_at_the_gateways_limit_passes_and_one_byte_more_does_not() -> None:
    payload = b'{"time": 0}'
    assert check(TOPIC, payload, message_bytes=len(payload))["reason"] is None
    assert check(TOPIC, payload, message_bytes=len(payload) - 1)["reason"] == "too_large"


def test_the_same_message_gives_the_same_answer() -> None:
    payload = b'[{"time": 0, "vehicles": 1e9}, {"time": 1}, 3]'
    assert check(TOPIC, payload) == check(TOPIC, payload)
