"""Storage that several archive processes share: PostgreSQL and an object store (decision 0078)."""
