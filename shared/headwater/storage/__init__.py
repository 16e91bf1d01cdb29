"""Databases, migrations, jobs, leases, users and blobs: all state that is not an immutable file."""
