"""One vector for a whole item from those of what it has."""
