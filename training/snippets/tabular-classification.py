import json

import numpy as np
import onnxruntime

about = json.load(open("path/to/this/folder/gallery.json", "rb"))
session = onnxruntime.InferenceSession("path/to/this/folder/onnx/model.onnx")
person = about["typical"] | {"age": 45, "education": "Masters"}  # "?" in categories is unknown
categories = np.array([[values.index(person[name]) for name, values in about["categories"].items()]], np.int64)
numbers = np.array([[person[name] for name in about["numbers"]]], np.float32)
(logit,) = session.run(["logit"], {"categories": categories, "numbers": numbers})
print(1 / (1 + np.exp(-(logit / about["temperature"] + about["bias"]))).item())  # probability of 50k or more
