"""What cameras see, put together: who was where from when to when, once, and who the people are that nobody named."""
