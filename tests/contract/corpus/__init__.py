"""Steps that keep the contract, and steps that break it on lines that say so."""
