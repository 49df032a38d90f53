"""Was it the wake word?"""
