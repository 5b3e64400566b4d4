"""What the recipes for pictures share: reading, augmentation, harder pictures, and measurements."""
