"""The plugin's fixtures, as pytest finds them where the package is installed and its plugin not switched off."""

from ratatoskr.testing.plugin import ratatoskr_authority, ratatoskr_pair

__all__ = ["ratatoskr_authority", "ratatoskr_pair"]
