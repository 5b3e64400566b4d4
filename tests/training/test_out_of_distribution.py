"""How well other pictures are rejected: which there are, and what is counted."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="torch and fastai are not installed: make test-all")
from sklearn.metrics import roc_auc_score

from training import evaluate
from training.out_of_distribution import describe_accepted, measure_group
from training.pictures import unrelated_pictures

pytestmark = pytest.mark.training


def answers(scores, threshold=0.0, label="dog"):
    return [
        SimpleNamespace(in_distribution_score=score, in_distribution=score >= threshold, label=label)
        for score in scores
    ]


def test_the_figures_are_the_auroc_and_the_share_rejected():
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(1, 1, 60).round(1), rng.normal(0, 1, 20).round(1)  # with ties
    auroc, rejected = measure_group(answers(inside), answers(outside), "noise")
    scores, is_inside = np.concatenate([inside, outside]), np.arange(80) < 60
    assert auroc.value == round(roc_auc_score(is_inside, scores), 6)
    interval = evaluate.bootstrap_interval(lambda rows: roc_auc_score(is_inside[rows], scores[rows]), 80, draws=500)
    assert auroc.interval == tuple(round(end, 6) for end in interval)
    assert (auroc.name, auroc.data, auroc.split, auroc.count) == ("auroc", "noise", "not used for training", 20)
    assert (rejected.name, rejected.value, rejected.count) == ("noticed", round((outside < 0).mean(), 6), 20)


def test_the_note_names_pictures_that_were_accepted_and_few_of_a_kind():
    outside = [*answers([1.0]), *answers([3.0]), *answers([2.0], label="cat")]
    for answer in outside[:1]:
        answer.in_distribution = False
    assert describe_accepted("animals", ["a/fox.png", "b/hen.png", "c/yak.png"], outside) == (
        "Not rejected: 2 of the 3 animals: hen (dog), yak (cat). "
        "These are too few to say much: fox.png, hen.png, yak.png."
    )
    assert describe_accepted("animals", ["x.png"] * 12, answers([-1.0] * 12)) == "Not rejected: 0 of the 12 animals."


def test_unrelated_pictures_are_many_and_the_same_each_time():
    assert len(unrelated_pictures.find_photographs()) == 19
    assert all(path.is_file() and "chelsea" not in path.name for path in unrelated_pictures.find_photographs())
    names = [path.name for path in unrelated_pictures.find_animals()]
    assert names == ["cheetah.jpg", "cheetah1.jpg", "lion.jpg", "cheetah2.jpg"]
    assert all(path.is_file() for path in unrelated_pictures.find_animals())
    for draw in (unrelated_pictures.draw_noise, unrelated_pictures.draw_plain_shapes, unrelated_pictures.draw_texts):
        first, other = draw(6, seed=1), draw(6, seed=2)
        draw.cache_clear()
        second = draw(6, seed=1)
        assert [image.tobytes() for image in first] == [image.tobytes() for image in second]
        assert [image.tobytes() for image in first] != [image.tobytes() for image in other]
        assert len({image.tobytes() for image in first}) == 6


def test_stamps_are_photographs_of_animals_that_are_neither_cat_nor_dog(tmp_path):
    others = "mammals/dogs/dog mammals/hedgehog mammals/cats/cartoon/lion mammals/bears/toys/bear"
    for name in ("birds/hen", "mammals/dogs/fox", *others.split()):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGBA", (8, 8)).save(tmp_path / f"{name}.png")
    assert [path.stem for path in unrelated_pictures.find_stamps(tmp_path)] == ["hen", "fox"]
