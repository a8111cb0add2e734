"""Codex's configuration: the shape of its files, and the settings they add up to."""
