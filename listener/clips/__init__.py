"""An owner's requests to the archive, and what she does with the answers, on her own machine."""
