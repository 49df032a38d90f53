"""Who belongs to this household: its owners and its devices."""
