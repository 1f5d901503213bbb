"""The local stack: PostgreSQL and Valkey from their wheels, and the processes of Aetheris, under one supervisor.

Nothing here needs Django to be set up: the stack has to run before there is a database to talk to.
"""
