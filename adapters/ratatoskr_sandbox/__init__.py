"""The Yggdrasil sandbox: a small honest platform to build clients against."""
