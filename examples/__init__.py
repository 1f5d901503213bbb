"""Ordinary users of Aetheris, and the outside world they talk to."""
