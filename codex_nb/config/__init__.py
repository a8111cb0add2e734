"""Codex's configuration: the shape of its files, and the settings they add up to."""

__version__ = "0.1.0"  # of codex_nb; here every layer can read it
