"""What the API says and how it is asked: requests, events, models, limits."""
