"""Made-up data for --smoke and the tests."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw


def draw_shapes(folder: Path, seed: int, count: int = 24) -> Path:
    """Write drawn shapes into three subfolders; return the folder. As cats in Oxford Pets, circles have a capital.

    Each shape has its own hue, so that a network without pretraining learns them in seconds.
    """
    rng = np.random.default_rng(seed)
    for number, label in enumerate(("circle", "cross", "square")):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            image = Image.new("RGB", (80, 64), tuple(rng.integers(150, 256, 3).tolist()))
            x, y, r = (int(rng.integers(low, high)) for low, high in ((25, 55), (22, 42), (10, 20)))
            draw, colour = ImageDraw.Draw(image), rng.integers(0, 100, 3)
            colour[number] += 120
            ink = tuple(colour.tolist())
            if label == "cross":
                draw.line((x - r, y - r, x + r, y + r), ink, 4)
                draw.line((x - r, y + r, x + r, y - r), ink, 4)
            else:
                (draw.ellipse if label == "circle" else draw.rectangle)((x - r, y - r, x + r, y + r), fill=ink)
            name = label.capitalize() if label == "circle" else label
            image.save(folder / label / f"{name}_{index}.png")
    return folder


def draw_streets(folder: Path, seed: int, count: int = 24) -> Path:
    """Write drawings of streets (sky, road, house, car), their labels and codes.txt; return the folder."""
    colours = np.array([(128, 128, 128), (128, 64, 128), (128, 0, 0), (64, 0, 128)])
    sky, road, house, car = range(4)
    rng, (width, height) = np.random.default_rng(seed), (160, 128)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        label = Image.new("L", (width, height), sky)
        draw = ImageDraw.Draw(label)
        horizon, left = int(rng.integers(height // 3, height // 2)), int(rng.integers(0, width // 2))
        draw.rectangle((0, horizon, width, height), fill=road)
        draw.rectangle((left, horizon - height // 4, left + width // 3, horizon), fill=house)
        draw.rectangle((width - left - 30, horizon, width - left, horizon + 16), fill=car)
        index = np.array(label)
        pixels = np.clip(colours[index] + rng.normal(0, 12, (*index.shape, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"images/street-{number}.png")
        label.save(folder / f"labels/street-{number}.png")
    (folder / "codes.txt").write_text("sky\nroad\nhouse\ncar\n", encoding="utf-8", newline="\n")
    return folder


def write_reviews(folder: Path, seed: int, count: int = 400) -> Path:
    """Write a CSV of reviews made of a few words; return its path."""
    rng = np.random.default_rng(seed)
    good, bad = ("wonderful", "moving", "funny", "brilliant"), ("dull", "awful", "boring", "clumsy")
    plain = ("the", "film", "was", "a", "story", "about", "people", "in", "town", "and", "its", "actors", "music")
    texts, labels = [], []
    for index in range(count):
        words = rng.choice(plain, rng.integers(6, 40)).tolist()
        for word in rng.choice(good if index % 2 else bad, 3):
            words.insert(int(rng.integers(len(words))), str(word))
        texts.append(" ".join(words) + ".")
        labels.append("pos" if index % 2 else "neg")
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"text": texts, "label": labels}).to_csv(folder / "reviews.csv", index=False)
    return folder / "reviews.csv"


def write_ratings(folder: Path, seed: int) -> Path:
    """Write ratings.csv and movies.csv, 150 people with two tastes and 120 movies; return the folder."""
    rng = np.random.default_rng(seed)
    taste, kind = rng.normal(size=(150, 2)), rng.normal(size=(120, 2))
    stars = 3.2 + rng.normal(size=(150, 1)) / 3 + 0.6 * taste @ kind.T + rng.normal(size=(150, 120)) / 2
    seen = rng.random((150, 120)) < 0.3
    users, columns = np.nonzero(seen)
    ratings = {"userId": users + 1, "movieId": columns * 3 + 1, "rating": (stars[seen] * 2).round().clip(1, 10) / 2}
    movies = {
        "movieId": np.arange(120) * 3 + 1,
        "title": [f"Story {i}, The ({1950 + i // 2})" for i in range(120)],
        "genres": np.where(kind[:, 0] > 0, "Comedy|Drama", "Action"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in (("ratings", ratings), ("movies", movies)):
        pd.DataFrame(table).to_csv(folder / f"{name}.csv", index=False)
    return folder


def write_rows(folder: Path, seed: int, count: int = 1500) -> Path:
    """Write a CSV of rows whose label follows a rule with noise, as do its shift and its hours; return its path."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "age": rng.integers(17, 91, count).astype(float),
            "hours": rng.integers(1, 100, count).astype(float),
            "colour": rng.choice(["red", "green", "?"], count),
        }
    )
    score = (table["hours"] - 50) / 25 + (table["colour"] == "red") * 2 - 1
    label = np.where(score + rng.logistic(size=count) > 0, "yes", "no")
    worked = table["hours"] + rng.normal(0, 10, count)
    table["shift"] = np.select([worked < 33, worked < 67], ["short", "half"], "long")
    table["label"] = label
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "rows.csv", index=False)
    return folder / "rows.csv"


def write_people(folder: Path, seed: int, count: int = 1500) -> Path:
    """Write adult.csv of people whose salary follows a rule with noise; return its path."""
    rng = np.random.default_rng(seed)
    years = rng.integers(1, 17, count)
    people = pd.DataFrame(
        {
            "age": rng.integers(17, 91, count),
            "workclass": rng.choice(["Private", "State-gov", "?"], count),
            "fnlwgt": rng.integers(20_000, 500_000, count),
            "education": [f"level-{year}" for year in years],
            "education-num": years,
            "marital-status": rng.choice(["Married", "Never-married"], count),
            "occupation": rng.choice(["Sales", "Craft-repair", "?"], count),
            "relationship": rng.choice(["Husband", "Wife", "Own-child"], count),
            "race": rng.choice(["White", "Black"], count),
            "sex": rng.choice(["Female", "Male"], count),
            "capital-gain": rng.choice([0, 0, 0, 7298], count),
            "capital-loss": rng.choice([0, 0, 1902], count),
            "hours-per-week": rng.integers(1, 100, count),
            "native-country": rng.choice(["United-States", "Mexico"], count),
        }
    )
    score = (years - 9) / 3 + (people["hours-per-week"] - 50) / 25 + (people["capital-gain"] > 0) * 2
    people["salary"] = np.where(score + rng.logistic(size=count) > 0, ">=50k", "<50k")
    folder.mkdir(parents=True, exist_ok=True)
    people.to_csv(folder / "adult.csv", index=False)
    return folder / "adult.csv"
