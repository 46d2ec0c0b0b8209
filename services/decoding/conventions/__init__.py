"""One file a convention: which messages are its own, and what they mean."""
