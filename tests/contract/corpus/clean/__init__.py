"""Fifty steps that keep the contract, each with something in it that looks as if it did not."""
