"""Run the command line: ``python -m codex_nb``."""

from codex_nb.cli import main

raise SystemExit(main())
