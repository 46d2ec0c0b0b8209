"""Mosquitto on the loopback interface: configuration, accounts, and who may do what."""

import base64
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.operations.stack import ownership, ports
from services.operations.stack.program import Program

GATEWAY = "gateway"
OPERATOR = "operator"
BINARY_VARIABLE = "CITYTALLY_MOSQUITTO"
BINARIES = ("/usr/local/lib/citytally/mosquitto", "/usr/sbin/mosquitto")
"""The one that `make install` builds, and Debian 12's own: 2.1 takes half the CPU of 2.0, which
reads a packet in three pieces and asks the kernel eight times to watch a socket for each."""

_PBKDF2_ITERATIONS = 101  # what Mosquitto itself uses; it stores the number beside the hash
_SALT_BYTES = 12
_CONNECT = bytes.fromhex("100c 0004 4d515454 04 02 000a 0000")  # MQTT 3.1.1, clean, no name
_CONNACK = 0x20

_CONFIGURATION = """\
# Written by citytally at each start; changes here do not last.
{user}listener {port} 127.0.0.1
socket_domain ipv4
allow_anonymous false
password_file {password_file}
acl_file {acl_file}

# A limit of messages in flight throttles a session to limit / time of acknowledgement, and Kafka's
# answer takes milliseconds. The gateway bounds what it holds and leaves its socket unread, and its
# acknowledgements come in order, so the broker finds each at the head of its list.
# Not 0, which stands for no limit: 2.1 then warns of each message as one beyond the limit.
max_inflight_messages 65534

# A limit here is a silent loss for a gateway that is away. The price is memory: watch the queue.
max_queued_messages 0
max_queued_bytes 0

# message_size_limit (unset) would acknowledge and drop; this cuts off without acknowledging.
max_packet_size {max_packet_bytes}

# Seconds between two saves; with autosave_on_changes the number would count changes instead, and
# the whole store be written again and again. A killed broker forgets what came since the last one.
persistence true
persistence_location {directory}/
autosave_interval 5
autosave_on_changes false
# persistent_client_expiration stays unset: the session of an absent gateway never ends by itself.

# Small packets to a busy connection travel together, which saves a fifth of the broker's time and
# the reader's; an idle connection's first packet is never held up.
set_tcp_nodelay false
sys_interval 2
log_dest stdout
log_timestamp_format %Y-%m-%dT%H:%M:%S
log_type error
log_type warning
log_type notice
connection_messages false
"""


def binary() -> str:
    """The broker to run: the one that the environment names, or the first that is there."""
    if named := os.environ.get(BINARY_VARIABLE):
        return named
    return next((path for path in BINARIES if Path(path).exists()), BINARIES[-1])


@dataclass(frozen=True, slots=True)
class Mosquitto:
    """One broker: its folder, its port, and the topics that the gateway may read."""

    directory: Path
    port: int
    gateway_topics: tuple[str, ...] = ("citytally/#",)
    max_packet_bytes: int = 32 * 1024 * 1024

    @property
    def user(self) -> str | None:
        """Who the broker runs as."""
        return ownership.service_user("mosquitto")

    @property
    def home(self) -> Path:
        """Where its files really are: `directory`, or where its user can reach them."""
        return ownership.reachable_directory(self.directory, self.user)

    @property
    def configuration_file(self) -> Path:
        """The file it is started with."""
        return self.home / "mosquitto.conf"

    @property
    def password_file(self) -> Path:
        """The accounts, one a line; read again on SIGHUP."""
        return self.home / "passwords"

    @property
    def acl_file(self) -> Path:
        """What each account may read and write; read again on SIGHUP."""
        return self.home / "acl"

    def prepare(self, accounts: Mapping[str, str]) -> None:
        """Make the folder and write all files; what the broker remembers is left alone."""
        ownership.make_directory(self.home, self.user)
        ownership.write_private(self.configuration_file, configuration(self), self.user)
        ownership.write_private(self.acl_file, access_rules(self.gateway_topics), self.user)
        self.write_accounts(accounts)

    def write_accounts(self, accounts: Mapping[str, str]) -> None:
        """Replace all accounts (name to password) at once; SIGHUP makes the broker read them."""
        ownership.write_private(self.password_file, password_lines(accounts), self.user)

    def program(self) -> Program:
        """The process to run."""
        command = (binary(), "-c", str(self.configuration_file))
        return Program("mosquitto", command, self.home, user=self.user, priority=10)

    def is_ready(self) -> bool:
        """True when it answers a CONNECT, be it by a refusal."""
        answer = ports.ask(self.port, _CONNECT, answer_size=4)
        return len(answer) > 0 and answer[0] == _CONNACK


def configuration(broker: Mosquitto) -> str:
    """The text of mosquitto.conf."""
    return _CONFIGURATION.format(
        # Started as root (by hand, say), it becomes this user; started as that user, it stays.
        user=f"user {broker.user}\n" if broker.user else "",
        port=broker.port,
        password_file=broker.password_file,
        acl_file=broker.acl_file,
        directory=broker.home,
        max_packet_bytes=broker.max_packet_bytes,
    )


def access_rules(gateway_topics: tuple[str, ...]) -> str:
    """The text of the ACL file: a device writes its own topic and does nothing else."""
    reads = [f"topic read {topic}" for topic in (*gateway_topics, "$SYS/#")]
    # A shared subscription is judged by the topic it delivers; the rule is for brokers that also
    # judge the subscription itself.
    shares = [f"topic read $share/+/{topic}" for topic in gateway_topics]
    lines = [
        f"user {GATEWAY}",
        *reads,
        *shares,
        "",
        f"user {OPERATOR}",
        "topic readwrite citytally/#",
        "topic read $SYS/#",
        "",
        "pattern write citytally/v1/+/%u",
    ]
    return "\n".join(lines) + "\n"


def password_lines(accounts: Mapping[str, str]) -> str:
    """The text of the password file, one `name:hash` a line in the order of names."""
    return "".join(f"{name}:{password_hash(accounts[name])}\n" for name in sorted(accounts))


def password_hash(password: str, salt: bytes | None = None) -> str:
    """Mosquitto's `$7$` form: PBKDF2 with SHA-512, so that no secret stands on a command line."""
    salt = os.urandom(_SALT_BYTES) if salt is None else salt
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _PBKDF2_ITERATIONS)
    encoded = (base64.b64encode(part).decode() for part in (salt, digest))
    return f"$7${_PBKDF2_ITERATIONS}${'$'.join(encoded)}"
