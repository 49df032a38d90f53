"""``make first-day``: types the lines of docs/guides/first-day.md, from a blank card to a clip."""
