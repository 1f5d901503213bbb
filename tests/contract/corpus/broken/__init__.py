"""Steps that break the contract. `# breaks: code` stands on each line that is to be found."""
