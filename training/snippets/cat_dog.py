import json

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

contract = json.load(open("path/to/this/folder/gallery.json"))
session = onnxruntime.InferenceSession("path/to/this/folder/onnx/model.onnx")
picture = ImageOps.exif_transpose(Image.open("picture.jpg")).convert("RGB")
small = picture.resize((contract["size"], contract["size"]), Image.Resampling.BILINEAR)
pixels = (np.asarray(small, np.float32) / 255 - contract["mean"]) / contract["std"]
logits, known = session.run(["logits", "known"], {"pixels": pixels.transpose(2, 0, 1)[None].astype(np.float32)})
odds = np.exp(logits[0] - logits[0].max())
print(dict(zip(contract["labels"], (odds / odds.sum()).tolist())), bool(known[0] >= contract["known_threshold"]))
