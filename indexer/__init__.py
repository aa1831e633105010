"""The indexing job: from files on disk to a published index."""
