"""How: bits to calibrated, located, fused measurements, and the ground all the rest stands on."""
