"""The text of supervisord.conf, and where supervisord keeps what it needs."""

import hashlib
import os
import resource
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.operations.stack.processes import bound_to_parent
from services.operations.stack.program import Program

LONGEST_SOCKET_PATH = 100  # the kernel takes 107 bytes
WANTED_FILES = 65536  # one for each connection of a device

_DAEMON = """\
; Written by citytally at each start; changes here do not last.
[unix_http_server]
file={socket}
chmod=0600

[supervisord]
identifier=citytally
directory={directory}
logfile={logs}/supervisord.log
logfile_maxbytes=10MB
logfile_backups=3
pidfile={pid_file}
childlogdir={logs}
minfds={files}
{user}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""

_PROGRAM = """
[program:{name}]
command={command}
directory={directory}
{user}environment={environment}
priority={priority}
autostart=true
autorestart=true
startsecs=1
startretries=100
stopsignal={stop_signal}
stopwaitsecs={stop_seconds}
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=3
"""


@dataclass(frozen=True, slots=True)
class SupervisorFiles:
    """The files of one supervisord, all under the state folder but for a socket too long for it."""

    state_directory: Path

    @property
    def configuration(self) -> Path:
        """supervisord.conf; it holds environments, so only its owner reads it."""
        return self.state_directory / "supervisord.conf"

    @property
    def pid_file(self) -> Path:
        """Where supervisord writes its process id."""
        return self.state_directory / "supervisord.pid"

    @property
    def logs(self) -> Path:
        """The folder of all logs."""
        return self.state_directory / "logs"

    @property
    def socket(self) -> Path:
        """Where supervisord listens."""
        wanted = self.state_directory / "supervisor.sock"
        if len(os.fsencode(wanted)) <= LONGEST_SOCKET_PATH:
            return wanted
        digest = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"citytally-{digest}.sock"

    def log(self, name: str) -> Path:
        """The log of one program."""
        return self.logs / f"{name}.log"


def configuration(files: SupervisorFiles, programs: Sequence[Program]) -> str:
    """The text of supervisord.conf for these programs, which start in order of priority."""
    return daemon_section(files) + "".join(program_section(files, one) for one in programs)


def daemon_section(files: SupervisorFiles) -> str:
    """What concerns supervisord itself."""
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = most_files == resource.RLIM_INFINITY
    return _DAEMON.format(
        socket=_literal(files.socket),
        directory=_literal(files.state_directory),
        logs=_literal(files.logs),
        pid_file=_literal(files.pid_file),
        files=WANTED_FILES if unlimited else min(WANTED_FILES, most_files),
        user="user=root\n" if os.geteuid() == 0 else "",
    )


def program_section(files: SupervisorFiles, program: Program) -> str:
    """What concerns one program. It ends with supervisord, also when that is killed."""
    bound = bound_to_parent(program.command, program.stop_signal)
    environment = ",".join(_assignment(*item) for item in sorted(program.environment.items()))
    return _PROGRAM.format(
        name=program.name,
        command=_literal(shlex.join(bound)),
        directory=_literal(program.directory),
        user=f"user={program.user}\n" if program.user else "",
        environment=environment,
        priority=program.priority,
        stop_signal=program.stop_signal.name.removeprefix("SIG"),
        stop_seconds=round(program.stop_seconds),
        log=_literal(files.log(program.name)),
    )


def _assignment(name: str, value: str) -> str:
    if '"' in value:
        raise ValueError(f"supervisord cannot pass a double quote in the environment: {name}")
    return f'{name}="{_literal(value)}"'


def _literal(value: str | Path) -> str:
    text = str(value)
    if "\n" in text or " ;" in text or " #" in text:
        raise ValueError(f"supervisord would read a part of this as a comment: {text!r}")
    return text.replace("%", "%%")
