"""Why a file cannot be read: the ends of sentences that begin elsewhere."""

from __future__ import annotations

NOT_TEXT = "it is not UTF-8 text"
NO_CERTIFICATES = "it is not a PEM file of certificates"
