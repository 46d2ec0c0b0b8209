"""Everything of citytally on one machine: what runs, how it is started, stopped and watched.

Begin reading at ``running``.
"""
