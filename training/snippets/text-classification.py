import json

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

config = json.load(open("path/to/this/folder/gallery.json", "rb"))
session = onnxruntime.InferenceSession("path/to/this/folder/onnx/model.onnx")
tokenizer = Tokenizer.from_file("path/to/this/folder/tokenizer.json")
ids, first = tokenizer.encode("A slow start, but the ending is wonderful!").ids, config["head"] + 1
ids = ids[:first] + ids[first:][first - config["max_tokens"] :]  # of a long text the beginning and the end
logits, _ = session.run(None, {"input_ids": np.array([ids])})
print(dict(zip(config["labels"], (np.exp(logits[0]) / np.exp(logits[0]).sum()).tolist())))
