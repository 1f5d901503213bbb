"""Replay: a job's steps run again on what was recorded of them, and must do the same. See docs/replay.md."""

from runtime.replays.report import Divergence, Verification
from runtime.replays.verifying import verify

__all__ = ["Divergence", "Verification", "verify"]
