"""The query layer: open an index, search it with any modality, evaluate it."""
