"""Identity, trust and configuration files."""
