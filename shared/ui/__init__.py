"""What the apps share that needs Gradio: looks, limits, inputs, batches and explanations."""
