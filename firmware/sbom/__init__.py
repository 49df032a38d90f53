"""Software bills of materials (CycloneDX 1.6, JSON) of the packages, releases and images."""
