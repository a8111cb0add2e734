"""One conversation: its threads, its turns and what is sent of the notebook."""
