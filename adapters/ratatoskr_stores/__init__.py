"""Stores that remember outcomes for at-most-once execution."""
