"""HTTP server of an index: an API for programs and a search page for people."""
