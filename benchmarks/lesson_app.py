"""The app of the fast.ai lesson, as a reader writes it: LEARNER=model.pkl python -m benchmarks.lesson_app."""

import os

import training  # noqa: F401 - makes fastai importable with CPU builds of torch

# isort: split
import gradio as gr
from fastai.vision.all import PILImage, load_learner  # noqa: TID251 - the lesson does; our own file

learn = load_learner(os.environ["LEARNER"])


def classify(image):  # noqa: D103 - as a reader writes it
    _, _, probabilities = learn.predict(PILImage.create(image))
    return {label: float(p) for label, p in zip(learn.dls.vocab, probabilities, strict=True)}


demo = gr.Interface(classify, gr.Image(type="pil"), gr.Label(), title="Cat or dog?", api_name="predict")

if __name__ == "__main__":
    demo.launch()
