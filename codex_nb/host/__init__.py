"""Where a turn runs: the engine's thread, the cell's thread, the kernel's messages, the user's shell and notebook."""
