"""Tools: what the model may do, and with what approval."""
