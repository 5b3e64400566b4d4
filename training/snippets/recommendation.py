import csv
import json

import numpy as np
import onnxruntime

users = json.load(open("path/to/this/folder/gallery.json", "rb"))["users"]
movies = [int(row["movie_id"]) for row in csv.DictReader(open("path/to/this/folder/movies.csv", encoding="utf-8"))]
session = onnxruntime.InferenceSession("path/to/this/folder/onnx/model.onnx")
asked = {"user": np.array([users.index(15)]), "movie": np.array([movies.index(260)])}
print(session.run(["rating"], asked)[0].clip(0.5, 5).item())  # stars
