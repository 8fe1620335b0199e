"""The forward models shipped with the system: the first oracle of every algorithm."""
