"""Arrays that need not be in memory, and the files they are read from."""
