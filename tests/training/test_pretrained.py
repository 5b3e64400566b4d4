"""The network that training begins with: from the public Hub even during a rehearsal, and only if it fits."""

import logging

import httpx2
import pytest

pytest.importorskip("fastai", reason="torch and fastai are not installed: make test-all")

from huggingface_hub.errors import HfHubHTTPError
from tokenizers.implementations.bert_wordpiece import BertWordPieceTokenizer
from transformers import (
    BertConfig,
    BertModel,
    MobileNetV2Config,
    MobileNetV2ForSemanticSegmentation,
    PreTrainedTokenizerFast,
)
from transformers import MobileNetV2ForImageClassification as Classifier

from hub.local import Hub
from hub.local.store import Blob
from tests.conftest import point_client_to
from training import command, pretrained
from training.data import DataError
from training.networks.text_classification import load_encoder
from training.pretrained import find_pretrained, load_pretrained
from training.recipes.image_classification import ImageClassification
from training.recipes.image_segmentation import ImageSegmentation
from training.recipes.text_classification import TextClassification

pytestmark = pytest.mark.training
NAME = "somebody/network"
BERT = BertConfig(vocab_size=31, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
SMALL = {"depth_multiplier": 0.35, "num_labels": 3}


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A folder with a small network."""
    folder = tmp_path_factory.mktemp("network")
    Classifier(MobileNetV2Config(**SMALL)).save_pretrained(folder)
    return folder


@pytest.fixture
def hubs(network, tmp_path, monkeypatch):
    """The Hub for rehearsals, and the public Hub, which has the network."""
    with Hub() as rehearsal, Hub() as public:
        point_client_to(monkeypatch, rehearsal.endpoint)
        monkeypatch.setenv("HF_TOKEN", rehearsal.token)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr(pretrained, "PUBLIC_HUB", public.endpoint)
        put(public, network)
        yield rehearsal, public


def put(hub, folder):
    """Put the files of a folder on a Hub."""
    repo = hub.store.create("model", NAME, False, "", "")
    files = {path.name: Blob(path.read_bytes()) for path in folder.iterdir()}
    repo.add("main", {**files, "onnx/model.onnx": Blob(b"not needed")}, "Model", "", "me")


def test_during_a_rehearsal_it_comes_from_the_public_hub_without_a_token(hubs, tmp_path):
    _, public = hubs
    network = load_pretrained(Classifier, NAME)
    assert network.config.num_labels == SMALL["num_labels"]
    assert not any("authorization" in request.headers for request in public.log)
    assert not any("onnx" in request.path for request in public.log)
    assert (tmp_path / "cache/huggingface/hub/models--somebody--network").is_dir()
    public.stop()
    assert load_pretrained(Classifier, NAME).config.num_labels == SMALL["num_labels"]  # from the cache


def test_a_network_on_the_hub_for_rehearsals_is_taken_from_there(hubs, network):
    rehearsal, public = hubs
    put(rehearsal, network)
    assert find_pretrained(NAME) == NAME
    assert not public.log


def test_a_folder_and_the_public_hub_need_no_search(network, monkeypatch):
    monkeypatch.setattr(pretrained, "snapshot_download", lambda *_, **__: pytest.fail("it was downloaded"))
    assert find_pretrained(str(network)) == str(network)
    point_client_to(monkeypatch, "https://huggingface.co")
    assert find_pretrained(NAME) == NAME


RECIPES = (ImageClassification, ImageSegmentation, TextClassification)


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_cannot_be_fetched_is_said_before_the_data_are_read(hubs, recipe, tmp_path, capsys, monkeypatch):
    _, public = hubs
    monkeypatch.setattr(recipe, "check_layout", lambda *_: None)
    monkeypatch.setattr(recipe, "load_own", lambda *_: pytest.fail("the data were read"))
    public.stop()
    given = ["--data", str(tmp_path), "--init", "somebody/else", "--out", str(tmp_path / "model")]
    assert command.main(recipe(), given) == 2
    error = capsys.readouterr().err
    assert "somebody/else is not on the Hub for rehearsals at http://127.0.0.1" in error
    assert "name a local folder with --init, or train without HF_ENDPOINT and publish afterwards." in error


@pytest.mark.parametrize("recipe", RECIPES)
def test_another_architecture_is_refused_before_the_data_are_read(recipe, network, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(recipe, "check_layout", lambda *_: None)
    monkeypatch.setattr(recipe, "load_own", lambda *_: pytest.fail("the data were read"))
    is_of_pictures = recipe is not TextClassification
    if is_of_pictures:
        BertModel(BERT).save_pretrained(tmp_path / "bert")
    folder = tmp_path / "bert" if is_of_pictures else network
    given = ["--data", str(tmp_path), "--init", str(folder), "--out", str(tmp_path / "model")]
    assert command.main(recipe(), given) == 2
    found = "bert" if is_of_pictures else "mobilenet_v2"
    assert f"(it is a {found}); name a local folder or another model with --init." in capsys.readouterr().err


@pytest.mark.parametrize("recipe", RECIPES)
def test_another_layout_is_refused_before_any_network_is_fetched(recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(recipe, "check_start", lambda *_: pytest.fail("a network was fetched"))
    data = tmp_path / "data"
    data.mkdir()
    for name in ("a.png", "a.txt"):
        (data / name).write_bytes(b"not read")
    assert command.main(recipe(), ["--data", str(data), "--out", str(tmp_path / "model")]) == 2
    assert "must have" in capsys.readouterr().err


def test_without_a_network_it_is_said_how_to_fetch_it_elsewhere(monkeypatch, capsys, caplog):
    caplog.set_level(logging.WARNING, pretrained.RETRYING)
    point_client_to(monkeypatch, "https://hub.invalid")

    def fail(*_):
        logging.getLogger(pretrained.RETRYING).warning("Retrying in 1s [Retry 1/5].")
        logging.getLogger(pretrained.RETRYING).warning("Retrying in 2s [Retry 2/5].")
        try:
            raise ConnectionError("[Errno -2] Name or service not known")
        except ConnectionError as error:
            raise OSError("We couldn't connect to the Hub.\nSee the offline mode.") from error

    monkeypatch.setattr("transformers.PretrainedConfig.get_config_dict", fail)
    with pytest.raises(DataError) as caught:
        load_pretrained(Classifier, "google/mobilenet_v2_1.0_224")
    assert str(caught.value) == (
        "hub.invalid cannot be reached. Where there is a network: hf download google/mobilenet_v2_1.0_224 --local-dir "
        "mobilenet_v2_1.0_224; then add --init mobilenet_v2_1.0_224. (ConnectionError: [Errno -2] Name or service not "
        "known)"
    )
    said = capsys.readouterr()
    assert said.out == "hub.invalid does not answer; trying again for half a minute.\n"
    assert not said.err
    assert not logging.getLogger(pretrained.RETRYING).filters


def test_weights_are_not_made_up(network, tmp_path):
    with pytest.raises(DataError, match="it has no weights for segmentation_head"):
        load_pretrained(MobileNetV2ForSemanticSegmentation, str(network))
    MobileNetV2ForSemanticSegmentation(MobileNetV2Config(**SMALL)).save_pretrained(tmp_path)
    with pytest.raises(DataError, match="it has no weights for classifier"):
        load_pretrained(Classifier, str(tmp_path))


def test_an_encoder_needs_no_last_layer_but_a_tokenizer(tmp_path):
    BertModel(BERT).save_pretrained(tmp_path)
    with pytest.raises(DataError, match="has no tokenizer for its 31 tokens"):
        load_encoder(str(tmp_path), [])
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
    small = BertWordPieceTokenizer({word: index for index, word in enumerate(words)})
    PreTrainedTokenizerFast(tokenizer_object=small._tokenizer, unk_token="[UNK]").save_pretrained(tmp_path)
    tokenizer, _ = load_encoder(str(tmp_path), [])
    assert tokenizer.encode("a b").ids == [2, 5, 6, 3]


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
def test_a_refusal_is_no_failure_of_the_network(status):
    response = httpx2.Response(status, request=httpx2.Request("GET", "http://127.0.0.1/someone/typo"))
    error = OSError("no such network")
    error.__cause__ = HfHubHTTPError("refused", response=response)
    assert pretrained.explain_unreachable("someone/typo", error) is None
    error.__cause__ = httpx2.ConnectError("no route")
    assert "cannot be reached" in pretrained.explain_unreachable("someone/typo", error)


def test_only_repeated_requests_are_said_once(capsys, caplog):
    logger = logging.getLogger(pretrained.RETRYING)
    caplog.set_level(logging.WARNING, pretrained.RETRYING)  # an earlier test may have raised it
    with pretrained.tell_retries_once():
        for _ in range(3):
            logger.warning("'no route' thrown while requesting GET http://127.0.0.1/someone")
            logger.warning("Retrying in 1s [Retry 1/5].")
        logger.warning("Rate limited. Waiting 200s before retry.")
    assert capsys.readouterr().out.count("does not answer") == 1
    assert [record.getMessage() for record in caplog.records] == ["Rate limited. Waiting 200s before retry."]
