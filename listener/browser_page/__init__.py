"""The page that shows an owner their clips in a browser, and the responses that carry its files."""
