import json

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

config = json.load(open("path/to/this/folder/gallery.json", "rb"))
session = onnxruntime.InferenceSession("path/to/this/folder/onnx/model.onnx")
picture = ImageOps.exif_transpose(Image.open("picture.jpg")).convert("RGB")
size = [round((config["area"] * a / b) ** 0.5 / 16) * 16 for a, b in (picture.size, picture.size[::-1])]
pixels = (np.asarray(picture.resize(size, Image.BILINEAR), np.float32) / 255 - config["mean"]) / config["std"]
(logits,) = session.run(["logits"], {"pixel_values": pixels.transpose(2, 0, 1)[None].astype(np.float32)})
print({label: float((logits[0].argmax(axis=0) == index).mean()) for index, label in enumerate(config["labels"])})
