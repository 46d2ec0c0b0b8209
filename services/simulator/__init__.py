"""A plausible city from a seed, with plausible faults; every injection is counted.

``city`` makes the devices, ``observing`` what they measure (by ``curves`` and ``noise``),
``faults`` what goes wrong, ``live`` and ``history`` what is sent and when; ``simulation`` runs it.
"""
