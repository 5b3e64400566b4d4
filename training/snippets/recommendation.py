import csv
import json

import numpy as np
import onnxruntime

config = json.load(open("path/to/this/folder/gallery.json", "rb"))
movies = [int(row["movie_id"]) for row in csv.DictReader(open("path/to/this/folder/movies.csv", encoding="utf-8"))]
session = onnxruntime.InferenceSession("path/to/this/folder/onnx/model.onnx")
user, movie = config["users"][0], movies[0]  # whom and what you like
inputs = {"user": np.array([config["users"].index(user)]), "movie": np.array([movies.index(movie)])}
print(session.run(["rating"], inputs)[0].clip(config["lowest"], config["highest"]).item())  # stars
