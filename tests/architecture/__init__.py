"""Tests of the package structure and the release files."""
