"""The HTTP interface (in a later version)."""
