import json

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

config = json.load(open("path/to/this/folder/gallery.json", "rb"))
session = onnxruntime.InferenceSession("path/to/this/folder/onnx/model.onnx")
image = ImageOps.exif_transpose(Image.open("picture.jpg")).convert("RGB")
fit = {"squash": Image.Image.resize, "crop": ImageOps.fit, "pad": ImageOps.pad}[config["framing"]]
square = fit(image, (config["size"] + 2 * config["margin"],) * 2, Image.BILINEAR)
pixels = np.asarray(ImageOps.crop(square, config["margin"]), np.float32) / 255
pixels = ((pixels - config["mean"]) / config["std"]).transpose(2, 0, 1)[None]
logits, score, _ = session.run(None, {session.get_inputs()[0].name: pixels.astype(np.float32)})
odds = dict(zip(config["labels"], (np.exp(logits[0]) / np.exp(logits[0]).sum()).tolist()))
print(odds, bool(score[0] >= config["in_distribution_threshold"]))
