"""Agents, tools and steps for the tests: small, counting, and doing what a test tells them."""
