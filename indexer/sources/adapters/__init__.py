"""Published data sets and other people's formats as sources of an index: ``FORMAT:PATH``."""
