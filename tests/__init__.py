"""The tests: one folder for each package of codex_nb, and one for each tier that needs more than Python."""
