"""The magics, ``%codex`` and ``%%codex``. Importing this package stays light; work is imported when a cell runs."""
