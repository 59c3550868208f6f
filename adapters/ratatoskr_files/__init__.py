"""Identity, trust and configuration files: all that the project reads from disk to know who is who.

:meth:`Config.load` reads one TOML file that names the others. :func:`dev_init` makes a set of them for development.
"""

from ratatoskr_files.config import Config
from ratatoskr_files.dev import DEV_TENANT, DevFiles, dev_init, is_dev
from ratatoskr_files.disk import FileRefused
from ratatoskr_files.enrol import (
    create_keys,
    describe,
    install_certificate,
    issue_certificate,
    request_certificate,
    show,
)
from ratatoskr_files.identity import Identity, load_keys
from ratatoskr_files.trust import load_pins, load_revoked, load_roots, save_pins, save_revoked, save_roots

__all__ = [
    "DEV_TENANT",
    "Config",
    "DevFiles",
    "FileRefused",
    "Identity",
    "create_keys",
    "describe",
    "dev_init",
    "install_certificate",
    "is_dev",
    "issue_certificate",
    "load_keys",
    "load_pins",
    "load_revoked",
    "load_roots",
    "request_certificate",
    "save_pins",
    "save_revoked",
    "save_roots",
    "show",
]
