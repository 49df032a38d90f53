"""The first border: sealed envelopes that hear leaves for send, and nothing else of hear's."""
