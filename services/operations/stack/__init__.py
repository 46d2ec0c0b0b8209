"""The servers of one machine: what each is told, how it is prepared, started and asked.

`mosquitto`, `kafka` and `postgresql` each describe one server as a frozen dataclass; `program` is
what any of them (or a service of ours) comes down to; `supervision` keeps programs running.
"""
