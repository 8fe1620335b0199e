"""Line packets and external scenes to calibrated, gridded, fused imagery."""
