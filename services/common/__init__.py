"""What every service shares, each thing declared once."""
