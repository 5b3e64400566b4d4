import csv
import json

import numpy as np
import onnxruntime

config = json.load(open("path/to/this/folder/gallery.json", "rb"))
items = [row["item_id"] for row in csv.DictReader(open("path/to/this/folder/items.csv", encoding="utf-8"))]
session = onnxruntime.InferenceSession("path/to/this/folder/onnx/model.onnx")
item, user = items[0], 0  # the first of config["users"], or an average person if there are none
rows = [np.array([user]), np.array([items.index(item)])]
inputs = {tensor.name: row for tensor, row in zip(session.get_inputs(), rows)}
print(session.run(["rating"], inputs)[0].clip(config["lowest"], config["highest"]).item())
