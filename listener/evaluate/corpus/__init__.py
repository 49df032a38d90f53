"""What is played: items from manifests and folders, in rooms and in noise."""
