"""How fast the platform is on this machine, measured on a scratch city and reported as it was."""
