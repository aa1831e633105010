"""One writer, a draft generation, and publishing it by one rename."""
