"""What the recipe for texts is made of: reading, tokens, fitting, calibration, and measurements."""
