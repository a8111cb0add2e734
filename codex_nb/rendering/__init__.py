"""Rendering: text that a model wrote, made safe to look at."""
