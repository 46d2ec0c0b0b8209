"""From readings to figures (in a later version)."""
