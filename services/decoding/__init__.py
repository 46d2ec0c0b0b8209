"""From a message to its readings, and from a reading to a judged one: pure, no I/O, no clock."""
