"""The index folder: layout, manifest, catalog, stored features and verification."""
