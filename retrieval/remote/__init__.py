"""Client of an index that is served over HTTP."""
