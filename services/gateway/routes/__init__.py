"""The house's routes under /v1: users, jobs, registry."""
