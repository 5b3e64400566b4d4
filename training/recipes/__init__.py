"""One recipe for each task, for data of any kind: python -m training.recipes.image_classification --data FOLDER."""
