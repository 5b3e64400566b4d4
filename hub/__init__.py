"""What talks to the Hugging Face Hub to change something there; loading models is in shared/hub.py."""
