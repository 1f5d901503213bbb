"""Load: many jobs with calls and no fault. Each ends, each call takes effect once, and no process grows."""
