import json

import numpy as np
import onnxruntime

config = json.load(open("path/to/this/folder/gallery.json", "rb"))
session = onnxruntime.InferenceSession("path/to/this/folder/onnx/model.onnx")
row = config["typical"]  # change what you like; "?" is an unknown category
categories = np.array([[values.index(row[name]) for name, values in config["categories"].items()]], np.int64)
numbers = np.array([[row[name] for name in config["numbers"]]], np.float32)
inputs = {"categories": categories, "numbers": numbers}
(logits,) = session.run(["logits"], {each.name: inputs[each.name] for each in session.get_inputs()})
odds = np.exp(logits[0] - logits.max())
print(dict(zip(config["labels"], odds / odds.sum())))
