"""Quotas: a GCRA for each client, in Redis for all processes, and what a process may decide by itself."""
