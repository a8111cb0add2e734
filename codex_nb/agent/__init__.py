"""Codex's own agent: turns in ``codex app-server``, with this package's login, notebook and approvals."""
