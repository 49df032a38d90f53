"""A result for people: the page with its pictures, the tables, the closing words."""
