"""Real servers that tests start, kill and pause, each in a folder and on ports of its own."""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.operations.stack.kafka import Kafka
from services.operations.stack.mosquitto import GATEWAY, OPERATOR, Mosquitto
from services.operations.stack.ports import LOOPBACK, free_port
from services.operations.stack.server import Server, ServerError

__all__ = ["KafkaServer", "MosquittoServer", "Server", "ServerError", "server_folder"]


class MosquittoServer(Server):
    """A broker with the accounts `gateway`, `operator` and those that a test adds."""

    def __init__(self, broker: Mosquitto) -> None:
        self.broker = broker
        self.accounts = {GATEWAY: "gateway-secret", OPERATOR: "operator-secret"}
        broker.prepare(self.accounts)
        super().__init__(broker)

    @property
    def host(self) -> str:
        return LOOPBACK

    @property
    def port(self) -> int:
        return self.broker.port

    def password(self, account: str) -> str:
        return self.accounts[account]

    def add_account(self, name: str, password: str) -> None:
        """Let a device in; the running broker reads its accounts again."""
        self.accounts[name] = password
        self._apply_accounts()

    def remove_account(self, name: str) -> None:
        del self.accounts[name]
        self._apply_accounts()

    def _apply_accounts(self) -> None:
        self.broker.write_accounts(self.accounts)
        self.send_signal(signal.SIGHUP)


class KafkaServer(Server):
    """A broker without topics."""

    def __init__(self, broker: Kafka) -> None:
        self.broker = broker
        broker.prepare()
        super().__init__(broker)

    @property
    def port(self) -> int:
        return self.broker.port

    @property
    def bootstrap(self) -> str:
        return f"{LOOPBACK}:{self.port}"


@contextmanager
def server_folder() -> Iterator[Path]:
    """A folder that the users whom servers run as can pass through; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="citytally-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def new_mosquitto(folder: Path) -> MosquittoServer:
    """A prepared broker that is not started yet."""
    return MosquittoServer(Mosquitto(folder / "mosquitto", free_port()))


def new_kafka(folder: Path) -> KafkaServer:
    """A prepared (formatted) broker that is not started yet."""
    return KafkaServer(Kafka(folder / "kafka", free_port(), free_port()))
