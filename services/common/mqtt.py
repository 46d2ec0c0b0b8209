"""The MQTT client of services: paho, MQTT 5, a session that outlives its connection."""

import socket
from typing import TypeVar

from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from services.common.settings import Settings

ClientT = TypeVar("ClientT", bound=Client)

SESSION_NEVER_EXPIRES = 0xFFFFFFFF
# A peer that is gone is noticed after 10 + 3 * 5 s.
_IDLE_S, _PROBE_EVERY_S, _PROBES = 10, 5, 3


class BrokerRefusedError(Exception):
    """The broker answered, and refused the connection or a subscription; the message says why."""


def client_id(slot: str) -> str:
    """Return the MQTT client id of a gateway slot: the name of its session on the broker."""
    return f"citytally-{slot}"


def subscriber(settings: Settings, slot: str, kind: type[ClientT]) -> ClientT:
    """Return an unconnected client for a slot's session; messages are acknowledged by hand.

    ``kind`` is paho's client or a class of ours that extends it.

    Raises MissingSecretError when the account has no password.
    """
    client = kind(
        CallbackAPIVersion.VERSION2,
        client_id=client_id(slot),
        protocol=MQTTv5,
        manual_ack=True,
        reconnect_on_failure=False,
    )
    client.username_pw_set(settings.mqtt_user, settings.secret(settings.mqtt_user))
    return client


def session_properties(expiry_s: int, receive_maximum: int) -> Properties:
    """Return CONNECT properties: how long the session outlives its connection, and the window."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho's own gap
    properties.SessionExpiryInterval = expiry_s
    properties.ReceiveMaximum = receive_maximum
    return properties


def keep_alive_by_tcp(sock: socket.socket) -> None:
    """Let the system find a dead peer, and send small packets at once.

    MQTT's own keepalive is off: paho would close a connection whose socket is left unread on
    purpose.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_EVERY_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
