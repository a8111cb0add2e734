"""Credentials: who sends a request and who pays for it; login, storage, refresh and signing."""
