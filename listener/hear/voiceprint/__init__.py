"""Attribution by voice in hear: the embedding process, its client, and the decision for a clip."""
