"""Noise that is a pure function of its keys, so that a restarted simulator repeats itself exactly.

A generator with a state would have to be wound forward to the time of each reading.
"""

from math import floor

_MASK = (1 << 64) - 1
_THIRD = (1 << 21) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def scramble(*keys: int) -> int:
    """Return 64 well mixed bits of whole numbers (the finaliser of SplitMix64, a key at a time)."""
    bits = 0
    for key in keys:
        bits = (bits + _GOLDEN + key) & _MASK
        bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _MASK
        bits ^= bits >> 31
    return bits


def unit(*keys: int) -> float:
    """Return a number in [0, 1)."""
    return (scramble(*keys) >> 11) / (1 << 53)


def normal(*keys: int) -> float:
    """Return a number with mean 0 and deviation 1: three uniform ones added, so within ±3."""
    bits = scramble(*keys)
    total = (bits & _THIRD) + ((bits >> 21) & _THIRD) + ((bits >> 42) & _THIRD)
    return 2.0 * total / _THIRD - 3.0


def smooth(key: int, time_s: float, period_s: float) -> float:
    """Return noise that wanders: a normal value every ``period_s``, eased from one to the next."""
    place = time_s / period_s
    step = floor(place)
    part = place - step
    ease = part * part * (3.0 - 2.0 * part)
    here, there = normal(key, step), normal(key, step + 1)
    return here + (there - here) * ease
