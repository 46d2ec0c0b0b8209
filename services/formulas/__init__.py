"""Formulas, pure (in a later version)."""
