"""An app that echoes a text, an uploaded picture or several uploaded files, as Gradio's own limit."""

import gradio as gr

with gr.Blocks() as demo:
    text, same = gr.Textbox(), gr.Textbox()
    text.submit(lambda value: value, text, same, api_name="text")
    image, name = gr.Image(type="filepath"), gr.Textbox()
    image.change(lambda path: path, image, name, api_name="upload")
    files, names = gr.File(file_count="multiple"), gr.JSON()
    files.upload(lambda paths: [str(path) for path in paths], files, names, api_name="files")

if __name__ == "__main__":
    demo.launch(_frontend=False)  # else a machine that is busy for 3 s when it starts stops it
