"""The documents say what is so: their code runs, their commands and links exist, their lists are complete."""
