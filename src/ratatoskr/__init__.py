"""Ratatoskr: a business protocol as a pure state machine."""
