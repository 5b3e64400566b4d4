"""Create and change repositories on the Hugging Face Hub; shared/hub.py loads models."""
