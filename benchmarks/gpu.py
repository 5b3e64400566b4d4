"""Measure how many pictures and texts a second a GPU trains on, for each way of running our networks.

    python -m benchmarks.gpu [--models cat_dog,segmentation,sentiment] [--steps 20]

Each row is a step on random inputs that stay on the device: forward, backward and AdamW in bfloat16. A row whose launch
takes about as long as the step is limited by the CPU, which cannot launch the kernels faster.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    MobileNetV2ForSemanticSegmentation,
)

from benchmarks.serving import make_list_parser
from training.networks.image_classification import ClassifierNet
from training.networks.image_segmentation import SegmentationNet
from training.networks.text_classification import TextNet
from training.pictures.augmentation import change_light, draw_warps, erase, make_grids, sample

MODELS = ["cat_dog", "segmentation", "sentiment"]
WARM_UP = 3
TOKENS = 256
Loss = Callable[[torch.Tensor], torch.Tensor]


def measure(
    name: str, net: nn.Module, make_batch: Callable[[], torch.Tensor], loss: Loss, count: int, steps: int, way: str
) -> None:
    """Print the items a second, the launch and whole time of a step, the time of the first step, and the memory."""
    net.train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d) and name.startswith("cat_dog"):
            module.eval()
    optimiser = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=1e-6, fused=True)
    cast = partial(torch.autocast, "cuda", torch.bfloat16)
    torch._dynamo.reset()
    began = time.perf_counter()
    if way == "captured":
        with cast(cache_enabled=False):
            torch.cuda.make_graphed_callables(net, (make_batch(),), allow_unused_input=True)
    elif way == "compiled":
        net.compile()

    def step() -> None:
        with cast():
            found = net(make_batch())
        loss(found).backward()
        optimiser.step()
        optimiser.zero_grad()

    for _ in range(WARM_UP):
        step()
    torch.cuda.synchronize()
    first, began = time.perf_counter() - began, time.perf_counter()
    for _ in range(steps):
        step()
    launched = time.perf_counter() - began
    torch.cuda.synchronize()
    took = time.perf_counter() - began
    memory = torch.cuda.max_memory_allocated() / 1e9
    print(
        f"| {name}, {count} at once, {way} | {count * steps / took:,.0f} | {launched / steps * 1e3:.1f} | "
        f"{took / steps * 1e3:.1f} | {first:.0f} | {memory:.1f} |",
        flush=True,
    )
    net.__dict__.pop("forward", None)
    net._compiled_call_impl = None
    torch.cuda.reset_peak_memory_stats()


def measure_pictures(steps: int, device: torch.device) -> None:
    """Measure cat_dog at 192 pixels, augmentation included."""
    pretrained = MobileNetV2ForImageClassification(MobileNetV2Config(num_labels=1001, image_size=192))
    net = ClassifierNet(("cat", "dog"), 37, pretrained).to(device, memory_format=torch.channels_last)
    pictures = torch.randint(0, 255, (1024, 3, 288, 288), dtype=torch.uint8, device=device)

    def make_batch(count: int) -> torch.Tensor:
        rows = torch.randint(0, len(pictures), (count,), device=device)
        grids = make_grids(draw_warps(count, device, zoom=(0.75, 1.8), rotate=15), (192, 192))
        lit = erase(change_light(sample(pictures[rows].float() / 255, grids), 0.3, 0.3))
        return (lit * 2 - 1).contiguous(memory_format=torch.channels_last)

    def loss(outputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return sum((logits.float().logsumexp(1).mean() for logits in outputs), torch.zeros((), device=device))

    for count in (64, 128, 256):
        measure("cat_dog", net, partial(make_batch, count), loss, count, steps, "eager")  # type: ignore[arg-type]
    for way in ("captured", "compiled"):
        measure("cat_dog", net, partial(make_batch, 128), loss, 128, steps, way)  # type: ignore[arg-type]


def measure_frames(steps: int, device: torch.device) -> None:
    """Measure segmentation at 352 by 480 pixels with cross-entropy."""
    pretrained = MobileNetV2ForSemanticSegmentation(MobileNetV2Config(output_stride=8))
    net = SegmentationNet(11, pretrained).to(device, memory_format=torch.channels_last)
    for count in (8, 16, 32):
        frames = torch.randn(count, 3, 352, 480, device=device).contiguous(memory_format=torch.channels_last)
        labels = torch.randint(0, 11, (count, 176, 240), device=device)
        for way in ("eager", "captured"):
            loss = partial(lambda logits, labels: F.cross_entropy(logits.float(), labels), labels=labels)
            measure("segmentation", net, lambda frames=frames: frames, loss, count, steps, way)  # type: ignore[misc]


def measure_texts(steps: int, device: torch.device) -> None:
    """Measure sentiment on texts of TOKENS tokens, a few of them padding."""
    config = BertConfig(
        vocab_size=18_000, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    torch.backends.cuda.enable_cudnn_sdp(False)
    net = TextNet(BertForSequenceClassification(config)).to(device)
    for count, way in ((32, "eager"), (128, "eager"), (256, "eager"), (128, "compiled")):
        ids = torch.randint(5, 18_000, (count, TOKENS), device=device)
        ids[:, -7:] = 0
        measure(
            "sentiment", net, lambda ids=ids: ids, lambda logits: logits.float().logsumexp(1).mean(), count, steps, way
        )  # type: ignore[misc]


def main(arguments: list[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=make_list_parser(MODELS), default=MODELS)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        parser.error("There is no GPU here.")
    device = torch.device("cuda")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n")
    print("| network, way | items/s | launch, ms | step, ms | first steps, s | memory, GB |\n|---|---|---|---|---|---|")
    for name in options.models:
        {"cat_dog": measure_pictures, "segmentation": measure_frames, "sentiment": measure_texts}[name](
            options.steps, device
        )


if __name__ == "__main__":
    main()
