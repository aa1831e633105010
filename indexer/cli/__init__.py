"""The commands that write an index, and the program ``xmodal``."""
