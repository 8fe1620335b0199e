"""What: the published variables, their encoders, sector packages and catalogue items."""
