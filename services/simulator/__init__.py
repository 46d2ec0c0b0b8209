"""A plausible city, with plausible faults."""
