"""An index behind HTTP, used as if it were local."""
