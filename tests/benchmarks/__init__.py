"""The budgets, measured: ``make bench`` prints one table. Nothing here is a test; a figure is never a pass or fail."""
