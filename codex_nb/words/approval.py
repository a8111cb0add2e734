"""Approval by typing: the question, and how to answer it."""

from __future__ import annotations

QUESTION = "Run it? [y]es, [c] always this code, [a]lways this tool, [n]o, [s]top: "
AGAIN = "Please answer y, c, a, n (with your reason behind it, if you like) or s. "
