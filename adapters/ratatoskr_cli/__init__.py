"""The command line: `ratatoskr`."""
