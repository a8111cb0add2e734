"""The tour notebooks run from top to bottom on the simulator."""
