"""Sources to items: folders, manifests, published data sets."""
