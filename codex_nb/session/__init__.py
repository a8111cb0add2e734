"""Conversations with the model: threads, turns, and what is sent of the notebook."""
