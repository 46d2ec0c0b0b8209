"""Contracts: channels, readings, messages, reasons, topics, device types; nothing of ours in."""
