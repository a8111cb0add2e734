"""What a person sees and touches: the transcript of a turn, sign-in, the account, and every word they read."""
