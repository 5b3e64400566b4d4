"""An app that echoes a text or an uploaded picture, as Gradio's own limit."""

import gradio as gr

with gr.Blocks() as demo:
    text, same = gr.Textbox(), gr.Textbox()
    text.submit(lambda value: value, text, same, api_name="text")
    image, name = gr.Image(type="filepath"), gr.Textbox()
    image.change(lambda path: path, image, name, api_name="upload")

if __name__ == "__main__":
    demo.launch()
