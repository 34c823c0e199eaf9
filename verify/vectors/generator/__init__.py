"""Writes the test vectors. Each module is one subject or a few."""
