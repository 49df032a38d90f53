"""The household's side: receive and store what only its owners can open."""
