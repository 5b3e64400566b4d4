"""The network of image classification: a backbone, its ImageNet classifier, and an in-distribution score."""

import warnings
from collections.abc import Sequence

import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from training.networks.backbones import Architecture, get_architecture, get_last_layer

DROPOUT = 0.2
SCORE_RANK = 208
PICTURES_A_CENTROID, MOST_CENTROIDS = 50, 32
FOLDS = 5
LEAST_SPREADS = (1e-6, 0.01)  # of the log odds and of the similarity, which equal pictures hardly vary
SMOOTHING = 0.05
KIND_WEIGHT = 0.5  # weight of the loss for kinds, such as breeds
RETAIN_WEIGHT = 0.25  # weight of the loss for forgetting ImageNet
RETAIN_TEMPERATURE = 2.0

Outputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class ClassifierNet(nn.Module):
    """A classifier of transformers, with the ImageNet classifier that its backbone was pretrained with.

    In: pixels (n, 3, height, width). Out: logits of the labels (n, labels); logits of kinds (n, kinds), only for
    training: breeds, or the labels again if no finer kinds are known; and logits of ImageNet's classes (n, classes)
    from the frozen classifier.
    """

    def __init__(self, labels: Sequence[str], kinds: int, pretrained: PreTrainedModel) -> None:
        super().__init__()
        names, config = dict(enumerate(labels)), pretrained.config.to_dict()
        config |= {"id2label": names, "label2id": {name: index for index, name in names.items()}}
        if "classifier_dropout_prob" in config:
            config["classifier_dropout_prob"] = DROPOUT
        self.classifier = type(pretrained)(type(pretrained.config).from_dict(config))
        self.backbone.load_state_dict(pretrained.base_model.state_dict())
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        imagenet = get_last_layer(pretrained)
        self.kinds = nn.Linear(imagenet.in_features, kinds)
        self.imagenet = imagenet.requires_grad_(False)

    @property
    def architecture(self) -> Architecture:
        """The architecture of the backbone."""
        return get_architecture(type(self.classifier))

    @property
    def backbone(self) -> PreTrainedModel:
        """The network of transformers without its last layer."""
        return self.classifier.base_model

    @property
    def head(self) -> nn.Linear:
        """The last layer, from pooled features to logits of the labels."""
        return get_last_layer(self.classifier)

    def forward(self, pixels: torch.Tensor) -> Outputs:
        pooled = self.backbone(pixels).pooler_output.flatten(1)
        dropped = F.dropout(pooled, DROPOUT, self.training)  # transformers' dropout works in place
        return self.head(dropped), self.kinds(dropped), self.imagenet(pooled)


class Pooled(nn.Module):
    """The backbone alone: maps pixels to pooled features, (n, features)."""

    def __init__(self, net: ClassifierNet) -> None:
        super().__init__()
        self.backbone = net.backbone

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor]:
        return (self.backbone(pixels).pooler_output.flatten(1),)


class ExportWrapper(nn.Module):
    """The exported module: logits (n, labels), in-distribution scores (n,), and maps (n, labels, rows, columns).

    The mean of a map is the logit of its label: pooling and the last layer are linear, so they commute
    (class activation maps; Zhou et al., CVPR 2016). Both are divided by what LabelConflict says.
    """

    def __init__(self, net: ClassifierNet, score: "DistributionScore") -> None:
        super().__init__()
        self.backbone = net.backbone
        self.head = net.head
        self.score = score
        self.conflict = LabelConflict()
        self.compute_features = net.architecture.compute_features

    def forward(self, pixels: torch.Tensor) -> Outputs:
        features = self.compute_features(self.backbone, pixels)
        pooled = features.mean((2, 3))
        maps = F.conv2d(features, self.head.weight[:, :, None, None], self.head.bias)
        divisor = self.conflict(maps)
        return self.head(pooled) / divisor[:, None], self.score(pooled), maps / divisor[:, None, None, None]


class LabelConflict(nn.Module):
    """Map maps (n, labels, rows, columns) to the numbers (n,), 1 or more, that their logits are divided by.

    A network that has only seen pictures of one label is often certain of one of two that a picture shows. The number
    is 1 + slope · (conflict - start) where the conflict (see measure_conflict) is above `start`; fit_conflict fits
    both. It does not change which label is the most probable.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("slope", torch.tensor(0.0))
        self.register_buffer("start", torch.tensor(0.0))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return compute_divisor(measure_conflict(maps), self.slope, self.start)


def compute_divisor(conflict: torch.Tensor, slope: torch.Tensor | float, start: torch.Tensor | float) -> torch.Tensor:
    """Return what logits are divided by, (n,), for conflicts (n,); see LabelConflict."""
    return 1 + slope * (conflict - start).clamp(min=0)


def measure_conflict(maps: torch.Tensor) -> torch.Tensor:
    """Return how far the second label leads where it leads most, (n,), for maps (n, labels, rows, columns).

    A label's lead is how far the mean of its map, in a window of half the height and width, is above that of every
    other label. It is negative if one label leads in every window.
    """
    height, width = (max(1, int(side) // 2) for side in maps.shape[2:])  # a constant of the export
    windows = F.avg_pool2d(maps, (height, width), stride=1)
    highest = windows.topk(2, 1).values
    leads = windows - torch.where(windows == highest[:, :1], highest[:, 1:], highest[:, :1])
    return leads.amax((2, 3)).topk(2, 1).values[:, 1]


class DistributionScore(nn.Module):
    """The in-distribution score: the sum of two scores, each with mean 0 and variance 1 over the training pictures.

    One is the log odds that a picture shows an ImageNet class of the training pictures. For cats and dogs these are
    ImageNet's 5 cats and 118 dogs; for other labels, the classes that the training pictures are classified as. A wolf
    or a lion has its own class in ImageNet, so it can be told from a dog or a cat. The weight matrix of ImageNet's
    classifier is stored as a low-rank product, most exact in the directions in which the features of pictures vary
    most. The other is the largest cosine similarity between a picture's features and the centroids of k-means on those
    of the training pictures: a picture can be of no class of ImageNet, and still be unlike them.

    `of_training` are the scores of the training pictures, (n,), with similarities to centroids of other pictures.
    Call `standardise` again if the weights change.

    Args:
        imagenet: ImageNet's classifier, from features to logits.
        inside: indices of the classes of the training pictures.
        features: features of the training pictures, (n, features).
        rank: rank of the product.
        labels: the number of labels. There are as many centroids, or more: one for PICTURES_A_CENTROID pictures, up to
            MOST_CENTROIDS.
    """

    def __init__(
        self,
        imagenet: nn.Linear,
        inside: Sequence[int],
        features: torch.Tensor,
        rank: int = SCORE_RANK,
        labels: int = 2,
    ) -> None:
        super().__init__()
        weight, mean = imagenet.weight.detach(), features.mean(0)
        covariance = torch.cov(features.T)
        # Half the covariance of the training pictures, half the identity: other pictures vary in other directions.
        scaled = covariance / covariance.diagonal().mean().clamp(min=1e-12) + torch.eye(len(mean))
        values, vectors = torch.linalg.eigh(scaled)
        left, sizes, right = torch.linalg.svd(weight @ (vectors * values.sqrt()), full_matrices=False)
        rank = min(rank, len(sizes))
        self.down = nn.Parameter(torch.empty(len(mean), rank))
        self.up = nn.Linear(rank, len(weight))
        self.inside = list(inside)
        self.outside = sorted(set(range(len(weight))) - set(inside))
        count = max(labels, min(MOST_CENTROIDS, len(features) // PICTURES_A_CENTROID))
        with torch.no_grad():
            self.down.copy_((sizes[:rank, None].sqrt() * right[:rank] @ (vectors / values.sqrt()).T).T)
            self.up.weight.copy_(left[:, :rank] * sizes[:rank].sqrt())
            self.up.bias.copy_(imagenet.bias + weight @ mean - self.up.weight @ (self.down.T @ mean))
            self.centroids = nn.Parameter(find_centroids(features, count))
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("spread", torch.ones(2))
        self.out_of_fold = compare_out_of_fold(features, count)
        self.standardise(features)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        return self.join(torch.stack([self.compute_odds(pooled), compare(pooled, self.centroids)], 1))

    @torch.no_grad()
    def standardise(self, features: torch.Tensor) -> None:
        """Set mean and spread of both scores, and `of_training`, for the training pictures' features (n, features)."""
        found = torch.stack([self.compute_odds(features), self.out_of_fold], 1)
        self.mean.copy_(found.mean(0))
        self.spread.copy_(found.std(0).maximum(torch.tensor(LEAST_SPREADS)))
        self.of_training = self.join(found)

    def compute_odds(self, pooled: torch.Tensor) -> torch.Tensor:
        """Return the log odds of the classes inside, (n,), for features (n, features)."""
        logits = self.up(pooled @ self.down)
        return torch.logsumexp(logits[:, self.inside], 1) - torch.logsumexp(logits[:, self.outside], 1)

    def join(self, scores: torch.Tensor) -> torch.Tensor:
        """Return the sum of the standardised scores, (n,), for scores (n, 2)."""
        return ((scores - self.mean) / self.spread).sum(1)


def compare(features: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """Return the largest cosine similarity, (n,), between features (n, features) and centroids (features, count)."""
    return (F.normalize(features, dim=1) @ centroids).amax(1)


def find_centroids(features: torch.Tensor, count: int) -> torch.Tensor:
    """Return the directions of the centroids of k-means on the directions of features, (features, count)."""
    directions = F.normalize(features, dim=1).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # if pictures are equal
        means = KMeans(min(count, len(directions)), n_init=1, random_state=0).fit(directions).cluster_centers_
    return F.normalize(torch.from_numpy(means), dim=1).T.contiguous()


def compare_out_of_fold(features: torch.Tensor, count: int) -> torch.Tensor:
    """Return the similarities of features (n, features), (n,), each to the centroids of other folds.

    A picture is more similar to centroids that it belongs to than a new one is.
    """
    found = torch.empty(len(features))
    for seen, unseen in KFold(min(FOLDS, len(features)), shuffle=True, random_state=0).split(features):
        found[unseen] = compare(features[unseen], find_centroids(features[seen], count))
    return found


def group_parameters(net: ClassifierNet) -> list[list[nn.Parameter]]:
    """Return the parameters of the first half, the second half and the heads, for different learning rates."""
    blocks = net.architecture.list_blocks(net.backbone)
    half = len(blocks) // 2
    return [
        [p for module in modules for p in module.parameters()]
        for modules in (blocks[:half], blocks[half:], [net.head, net.kinds])
    ]


def classification_loss(
    prediction: Outputs, target: torch.Tensor, kind: torch.Tensor, before: torch.Tensor
) -> torch.Tensor:
    """Return the cross-entropy of labels and of kinds plus the divergence from the pretrained network.

    The last term (Li and Hoiem, "Learning without Forgetting", ECCV 2016) keeps ImageNet's classifier working on the
    features, which the in-distribution score needs.

    Args:
        prediction: logits (n, labels), (n, kinds) and (n, classes of ImageNet).
        target: probabilities of the labels, (n, labels).
        kind: probabilities of kinds, (n, kinds).
        before: log probabilities of ImageNet's classes (n, classes) by the pretrained network on the clean pictures, or
            the mean of its and a teacher's.
    """
    logits, kinds, imagenet = prediction
    t = RETAIN_TEMPERATURE
    retained = F.kl_div(
        F.log_softmax(imagenet / t, 1), F.log_softmax(before / t, 1), reduction="batchmean", log_target=True
    )
    labelled = F.cross_entropy(logits, target, label_smoothing=SMOOTHING)
    return (
        labelled
        + KIND_WEIGHT * F.cross_entropy(kinds, kind, label_smoothing=SMOOTHING)
        + RETAIN_WEIGHT * t * t * retained
    )


@torch.no_grad()
def interpolate_weights(net: ClassifierNet, pretrained: PreTrainedModel, alpha: float) -> None:
    """Interpolate between the pretrained (alpha 0) and the fine-tuned backbone (alpha 1).

    Interpolated weights keep most of the gain from fine-tuning and forget less of the pretraining (Wortsman et al.,
    "Robust fine-tuning of zero-shot models", CVPR 2022).
    """
    before = pretrained.base_model.state_dict()
    for name, tuned in net.backbone.state_dict().items():
        if tuned.is_floating_point():
            tuned.lerp_(before[name], 1 - alpha)
