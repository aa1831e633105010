"""An evaluation as one page to look at."""
