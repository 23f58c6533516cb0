"""What a tenant may: how often, how many at once, how much a day, how much in all."""
