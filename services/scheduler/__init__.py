"""One process that runs every app's jobs: submitted ones as subprocesses, scheduled ones by the clock."""
