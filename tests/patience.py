"""How long tests with external programs wait for a condition.

A wait ends as soon as the condition is true, so a long limit costs nothing; it must suffice on a machine that is ten
times slower.
"""

from __future__ import annotations

import os

PATIENCE_S = float(
    os.environ.get("CODEX_NB_PATIENCE_S", "300")
)  # shorten it while mending a test that waits in vain
PATIENCE_MS = PATIENCE_S * 1000
LONGEST_TEST_S = 4 * PATIENCE_S  # of tests with external programs; a test waits for several conditions
