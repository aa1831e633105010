"""A single writer prepares a draft generation and publishes it by one rename."""
