"""The step contract: what the validator finds and lets pass, the harness, strict steps, narrative."""
