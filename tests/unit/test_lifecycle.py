"""What a service does to its process, looked at in a process of its own."""

import subprocess
import sys

_PAGES_OF_FRESH_BUFFERS = """
import resource
from services.common import lifecycle

{prepare}

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        b"".join([b"x" * 2_000_000, b"y" * 2_000_000])
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


def faults_after(prepare: str) -> int:
    script = _PAGES_OF_FRESH_BUFFERS.format(prepare=prepare)
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    return int(done.stdout)


def test_freed_memory_is_kept_for_the_next_buffer() -> None:
    assert faults_after("lifecycle.keep_freed_memory()") < faults_after("") / 10
