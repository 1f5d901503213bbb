"""The runtime: jobs, steps, events, the ledger, execution, API and admin."""
