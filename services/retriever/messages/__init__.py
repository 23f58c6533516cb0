"""The messages of the contract as the domain's own words, and back."""
