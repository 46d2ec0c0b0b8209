"""The services of citytally and what they share."""
