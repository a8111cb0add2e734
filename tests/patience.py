"""How long the tests with programs beside them wait for what must happen.

A wait ends as soon as the thing is there, so this costs nothing; it must do on a machine that is ten times slower.
"""

from __future__ import annotations

PATIENCE_S = 300.0
PATIENCE_MS = PATIENCE_S * 1000
LONGEST_TEST_S = 6 * PATIENCE_S  # of the browser's and the kernels'; a test waits for more than one thing
