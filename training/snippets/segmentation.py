import json

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

contract = json.load(open("path/to/this/folder/gallery.json"))
session = onnxruntime.InferenceSession("path/to/this/folder/onnx/model.onnx")
picture = ImageOps.exif_transpose(Image.open("picture.jpg")).convert("RGB")
small = picture.resize((480, 352), Image.Resampling.BILINEAR)  # any sides that are multiples of 16
pixels = np.asarray(small, np.float32) / 255
pixels = ((pixels - contract["mean"]) / contract["std"]).astype(np.float32).transpose(2, 0, 1)
(logits,) = session.run(["logits"], {"pixels": pixels[None]})  # (1, classes, height / 4, width / 4)
planes = [np.asarray(Image.fromarray(plane).resize(picture.size, Image.Resampling.BILINEAR)) for plane in logits[0]]
mask = np.argmax(planes, axis=0)  # class indices, (height, width)
print({contract["labels"][index]: float((mask == index).mean()) for index in np.unique(mask)})
