"""The Earth's figure: ellipsoid, frames, geoid, curvature."""
