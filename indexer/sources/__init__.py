"""Reading sources into items: folders, manifests, published data sets."""
