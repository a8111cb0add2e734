"""What the model may do, and with whose consent."""
