"""The plan of the house as tests, so that it cannot rot."""
