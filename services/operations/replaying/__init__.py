"""Replay: recorded files become native messages and go through the whole pipeline.

``formats`` lists the readers, each a file of its own; ``recording`` says what a reader yields,
``play`` registers and publishes it.
"""
