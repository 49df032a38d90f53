"""Installation of signed releases, with a trial and an automatic rollback."""
