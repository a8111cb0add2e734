"""The user interface: the transcript of a turn, the sign-in and the account, as widget, HTML and text."""
