"""Wake-word detection: features, embeddings, heads, thresholds, manifests and traces."""
