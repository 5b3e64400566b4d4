"""Measure what --alpha trades for cat_dog: errors on validation pictures made harder, against rejecting other animals.

    python -m benchmarks.alpha STATES --data PETS --animals DIR [--init DIR] [--alphas 0,0.2,0.3] [--pictures 1200]

STATES is the folder of a finished training (--states). The last layer is fitted to some of the training pictures, and
nothing is rounded, so figures differ a little from those of a stored model.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from training.cat_dog import IMAGENET_CLASSES, CatDog, CatDogSettings
from training.networks.image_classification import ClassifierNet, DistributionScore, Pooled, interpolate_weights
from training.pictures import hard_pictures, head
from training.pictures.files import decode
from training.pictures.outputs import compute_outputs
from training.pictures.unrelated_pictures import find_stamps
from training.recipes.image_classification import load_backbone
from training.states import read_finished


def main(arguments: list[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("states", type=Path)
    parser.add_argument("--data", required=True, help="a folder with Oxford Pets")
    parser.add_argument("--animals", type=Path, required=True, help="stamps/animals of Tux Paint")
    parser.add_argument("--init", help="the pretrained network")
    parser.add_argument("--alphas", default="0,0.2,0.3,0.4,0.5,0.8")
    parser.add_argument("--pictures", type=int, default=1200, help="training pictures for the last layer")
    options = parser.parse_args(arguments)
    finished = read_finished(options.states)
    if finished is None:
        parser.error(f"The training in {options.states} has not finished.")
    weights, settings = finished[0], CatDogSettings(**({"init": options.init} if options.init else {}))
    splits, size = CatDog().load(options.data, settings), (settings.size,) * 2
    rows = np.random.default_rng(0).permutation(len(splits.train))[: options.pictures]
    train, valid = splits.train.take(rows), splits.valid
    sets = {"train": decode(train.paths, size), "as they are": decode(valid.paths, size)}
    for name, (_, change) in hard_pictures.HARDER.items():
        drawn = hard_pictures.Drawn(valid.paths, lambda path, change=change: change(hard_pictures.read(path)))
        sets[name.removeprefix("error_")] = decode(drawn[:], size)
    sets["animals"] = decode(find_stamps(options.animals), size)
    errors = [name for name in sets if name not in ("train", "animals")]
    print(f"| alpha | {' | '.join(errors)} | AUROC, animals |\n|{'---|' * (len(errors) + 2)}")
    for alpha in map(float, options.alphas.split(",")):
        net = ClassifierNet(splits.labels, int(splits.train.kind.max()) + 1, load_backbone(settings))
        net.load_state_dict({name[4:]: value for name, value in weights.items() if name.startswith("net.")})
        interpolate_weights(net, load_backbone(settings), alpha)
        mean, std = net.architecture.mean, net.architecture.std
        outputs = compute_outputs(Pooled(net), *sets.values(), mean=mean, std=std)
        features = {name: pooled for name, (pooled,) in zip(sets, outputs, strict=True)}
        with torch.no_grad():
            logits = net.imagenet(features["train"])
        taught = weights["taught"][rows] if weights["taught"].shape[1] else None
        targets = head.make_targets(net.imagenet, logits, train.y, IMAGENET_CLASSES, taught)
        layer = net.head
        head.fit_head(layer, features["train"], train.y, targets)
        inside = head.find_training_classes(net.imagenet, features["train"], IMAGENET_CLASSES)
        score = DistributionScore(net.imagenet, inside, features["train"])
        with torch.no_grad():
            wrong = [f"{(layer(features[name]).argmax(1).numpy() != valid.y).mean():.3f}" for name in errors]
            scores = [score(features[name]).numpy() for name in ("as they are", "animals")]
        is_inside = np.repeat([1, 0], [len(part) for part in scores])
        print(
            f"| {alpha:g} | {' | '.join(wrong)} | {roc_auc_score(is_inside, np.concatenate(scores)):.3f} |", flush=True
        )


if __name__ == "__main__":
    main()
