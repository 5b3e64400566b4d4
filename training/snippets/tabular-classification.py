import json

import numpy as np
import onnxruntime

about = json.load(open("path/to/this/folder/gallery.json", "rb"))
session = onnxruntime.InferenceSession("path/to/this/folder/onnx/model.onnx")
row = about["typical"]  # change what you like; "?" is an unknown category
categories = np.array([[values.index(row[name]) for name, values in about["categories"].items()]], np.int64)
numbers = np.array([[row[name] for name in about["numbers"]]], np.float32)
inputs = {"categories": categories, "numbers": numbers}
(logit,) = session.run(["logit"], {each.name: inputs[each.name] for each in session.get_inputs()})
print(1 / (1 + np.exp(-(logit / about["temperature"] + about["bias"]))).item())  # probability of the second label
