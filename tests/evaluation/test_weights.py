"""Where weights are looked for, what a missing one costs and says, and what a bad one raises."""

import json
import pickle
import shutil
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from instruct.errors import DataError, UsageError
from instruct.evaluation import evaluate, make_pairs
from instruct.evaluation.catalogue import GROUPS
from instruct.evaluation.models.known import KNOWN

PAIRS = make_pairs(["a", "b"], ["Small effusion.", "Clear lungs."], ["Clear lungs.", "Clear lungs."])
CLINICAL = ["bertscore", "sembscore", "radgraph_f1", "ratescore", "f1chexbert", "radgraph_partial"]


def test_a_missing_weight_costs_little_and_says_everything():
    start = time.perf_counter()
    report = evaluate(PAIRS, metrics=CLINICAL)
    assert (time.perf_counter() - start) / len(CLINICAL) < 0.1
    skipped = report.parts[0].skipped
    assert {skip.reason for skip in skipped.values()} == {"weights missing"}
    message = skipped["sembscore"].remedy
    for part in (
        "--weights, $CXR_INSTRUCT_WEIGHTS (not set) or the hub cache (",
        "empty-hub", "chexbert.pth", "1.31 GB", "research use",
        "`hf download StanfordAIMI/RRG_scorers chexbert.pth --local-dir \"$CXR_INSTRUCT_WEIGHTS/chexbert\"`",
        "bert-base-uncased (config.json, tokenizer.json; 1 MB; licence: Apache-2.0)", "add --download", "--scores",
    ):  # fmt: skip
        assert part in message
    assert report.markdown().count("hf download StanfordAIMI/RRG_scorers chexbert.pth") == 1
    assert "SNOMED CT" in skipped["ratescore"].remedy


def test_missing_weights_import_no_torch(tmp_path):
    code = (
        "import sys\nfrom instruct.evaluation import evaluate, make_pairs\n"
        "evaluate(make_pairs(['a'], ['x'], ['x']), metrics='report')\n"
        "print(sorted({'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)))"
    )
    env = {"HF_HUB_CACHE": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_variable_and_the_given_folder(tmp_path, monkeypatch, weights):
    for name in ("chexbert", "bert-base-uncased"):
        shutil.copytree(weights[name], tmp_path / name)
    monkeypatch.setenv("CXR_INSTRUCT_WEIGHTS", str(tmp_path))
    assert evaluate(PAIRS, metrics="sembscore").result("sembscore").value is not None
    shutil.rmtree(tmp_path / "chexbert")
    assert f"({tmp_path})" in evaluate(PAIRS, metrics="sembscore").parts[0].skipped["sembscore"].remedy
    given = {"chexbert": weights["chexbert"] / "chexbert.pth"}  # the file itself will do
    assert evaluate(PAIRS, metrics="sembscore", weights=given).result("sembscore").value is not None


@pytest.mark.parametrize("repository", ["distilbert--distilroberta-base", "distilroberta-base"])
def test_the_hub_cache(tmp_path, monkeypatch, weights, repository):
    folder = tmp_path / f"models--{repository}"
    shutil.copytree(weights["distilroberta-base"], folder / "snapshots" / "abc123")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc123")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    report = evaluate(PAIRS, metrics="bertscore")
    assert report.result("bertscore").origin == "computed with distilroberta-base"
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert (
        f"the hub cache ({tmp_path / 'hub'})"
        in evaluate(PAIRS, metrics="bertscore").parts[0].skipped["bertscore"].remedy
    )


def test_a_given_folder_without_the_files_is_a_mistake(tmp_path):
    with pytest.raises(DataError, match=r"--weights chexbert=.*: .* lacks chexbert.pth; get it with: hf download"):
        evaluate(PAIRS, metrics="sembscore", weights={"chexbert": tmp_path})
    with pytest.raises(DataError, match="is no folder"):
        evaluate(PAIRS, metrics="sembscore", weights={"chexbert": tmp_path / "gone"})
    with pytest.raises(
        UsageError, match=r"no weights are known for 'chexpert'; expected distilroberta-base, chexbert,"
    ):
        evaluate(PAIRS, metrics="sembscore", weights={"chexpert": tmp_path})


def test_an_unknown_device_is_a_mistake(weights):
    with pytest.raises(UsageError, match=r"--device warp: .*; expected cpu, or a device of this machine"):
        evaluate(PAIRS, metrics="sembscore", weights=weights, device="warp")


def with_copy(weights, name, folder):
    shutil.copytree(weights[name], folder)
    return {**weights, name: folder}


class Foreign:
    def __reduce__(self):
        return (print, ("this code must not run",))


@pytest.mark.parametrize(
    ("name", "file", "metric"), [("chexbert", "chexbert.pth", "sembscore"), ("radgraph", "weights.th", "radgraph_f1")]
)
@pytest.mark.parametrize("damage", ["cut", "noise", "foreign", "number"])
def test_bad_checkpoints(tmp_path, capfd, weights, name, file, metric, damage):
    import torch

    mine = with_copy(weights, name, tmp_path / "copy")
    path = tmp_path / "copy" / file
    whole = path.read_bytes()
    if damage == "foreign":
        torch.save({"model_state_dict": {}, "extra": Foreign()}, path)
    elif damage == "number":
        torch.save(3, path)
    else:
        path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"\x00noise" * 100)
    what = {"foreign": "its pickle holds other objects than tensors", "number": "holds a int; expected named tensors"}
    with pytest.raises(DataError, match=what.get(damage, "cannot be read")):
        evaluate(PAIRS, metrics=metric, weights=mine, device="cpu")
    assert "must not run" not in capfd.readouterr().out


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_bare_pickle_with_foreign_classes_is_refused(tmp_path, capfd, weights):
    mine = with_copy(weights, "chexbert", tmp_path / "copy")
    (tmp_path / "copy" / "chexbert.pth").write_bytes(pickle.dumps({"model_state_dict": Foreign()}))
    with pytest.raises(DataError, match=r"chexbert.pth: (refused, .*print|cannot be read)"):
        evaluate(PAIRS, metrics="sembscore", weights=mine)
    assert "must not run" not in capfd.readouterr().out


def test_checkpoints_of_another_kind(tmp_path, weights):
    import torch

    mine = with_copy(weights, "chexbert", tmp_path / "chexbert")
    path = tmp_path / "chexbert" / "chexbert.pth"
    state = torch.load(path, weights_only=True)
    torch.save(state["model_state_dict"], path)
    with pytest.raises(DataError, match="no 'model_state_dict'"):
        evaluate(PAIRS, metrics="sembscore", weights=mine)
    lost = dict(state["model_state_dict"])
    del lost["module.linear_heads.3.bias"]
    torch.save({"model_state_dict": lost}, path)
    with pytest.raises(DataError, match=r"lacks the tensor 'linear_heads.3.bias'; expected 14 classifiers"):
        evaluate(PAIRS, metrics="sembscore", weights=mine)
    lost = {name: tensor for name, tensor in state["model_state_dict"].items() if "layer.1.output" not in name}
    torch.save({"model_state_dict": lost}, path)
    with pytest.raises(DataError, match=r"lacks the \d tensors encoder.layer.1.output"):
        evaluate(PAIRS, metrics="sembscore", weights=mine)


def test_an_encoder_config_that_does_not_fit(tmp_path, weights):
    for number, change in (
        ('"num_hidden_layers": 2', '"num_hidden_layers": 1'),
        ('"hidden_size": 32', '"hidden_size": 64'),
    ):
        folder = tmp_path / change.split()[-1]
        mine = with_copy(weights, "bert-base-uncased", folder)
        config = (folder / "config.json").read_text()
        assert number in config
        (folder / "config.json").write_text(config.replace(number, change))
        with pytest.raises(DataError, match=r"config\.json"):
            evaluate(PAIRS, metrics="sembscore", weights=mine)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_transformers_pickle_with_foreign_classes_does_not_run(tmp_path, capfd, weights):
    import torch

    mine = with_copy(weights, "distilroberta-base", tmp_path / "copy")
    (tmp_path / "copy" / "model.safetensors").unlink()
    torch.save({"embeddings.word_embeddings.weight": Foreign()}, tmp_path / "copy" / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"copy: cannot be read"):
        evaluate(PAIRS, metrics="bertscore", weights=mine, device="cpu")
    assert "must not run" not in capfd.readouterr().out


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": 3}'])
def test_a_list_of_checkpoint_files_that_is_damaged(tmp_path, weights, text):
    mine = with_copy(weights, "distilroberta-base", tmp_path / "copy")
    (tmp_path / "copy" / "model.safetensors").rename(tmp_path / "copy" / "model-00001-of-00001.safetensors")
    (tmp_path / "copy" / "model.safetensors.index.json").write_text(text)
    with pytest.raises(DataError, match=r"index.json: no list of the checkpoint's files; get it with: hf download"):
        evaluate(PAIRS, metrics="bertscore", weights=mine, device="cpu")


def test_transformer_folders_that_are_bad(tmp_path, weights):
    from safetensors.torch import load_file, save_file

    mine = with_copy(weights, "distilroberta-base", tmp_path / "copy")
    path = tmp_path / "copy" / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"copy: cannot be read \("):
        evaluate(PAIRS, metrics="bertscore", weights=mine)
    tensors.pop("encoder.layer.2.output.dense.weight")
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"lack 1 of the model's tensors \(encoder.layer.2.output.dense.weight"):
        evaluate(PAIRS, metrics="bertscore", weights=mine)


def test_radgraph_archives_that_are_bad(tmp_path, weights):
    mine = with_copy(weights, "radgraph", tmp_path / "copy")
    vocabulary = tmp_path / "copy" / "vocabulary"
    labels = (vocabulary / "radgraph__ner_labels.txt").read_text()
    (vocabulary / "radgraph__ner_labels.txt").write_text(labels + "EXTRA\n")
    with pytest.raises(DataError, match=r"weights.th scores 4 entity labels, .*; vocabulary/ and config.json have 5"):
        evaluate(PAIRS, metrics="radgraph_f1", weights=mine)
    (vocabulary / "radgraph__ner_labels.txt").rename(vocabulary / "radgraph-xl__ner_labels.txt")
    with pytest.raises(DataError, match=r"has the labels of radgraph-xl; expected the original RadGraph model"):
        evaluate(PAIRS, metrics="radgraph_f1", weights=mine)
    (tmp_path / "copy" / "config.json").write_text("{}")
    with pytest.raises(DataError, match=r"config.json is not RadGraph's \(KeyError"):
        evaluate(PAIRS, metrics="radgraph_f1", weights=mine)
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "radgraph.tar.gz").write_bytes(b"\x1f\x8b" + b"junk" * 50)
    with pytest.raises(DataError, match=r"radgraph.tar.gz: cannot be read"):
        evaluate(PAIRS, metrics="radgraph_f1", weights={**weights, "radgraph": tmp_path / "packed"})


def test_labels_that_are_not_rate_ners(tmp_path, weights):
    mine = with_copy(weights, "rate-ner", tmp_path / "copy")
    config = tmp_path / "copy" / "config.json"
    config.write_text(config.read_text().replace("B-ANATOMY", "B-PERSON"))
    with pytest.raises(DataError, match=r"labels B-PERSON are not RaTE-NER's"):
        evaluate(PAIRS, metrics="ratescore", weights=mine)


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's protocol as fetching a repository needs."""

    folder: Path

    def do_GET(self):
        files = sorted(path for path in self.folder.iterdir())
        if "/tree/" in self.path:
            rows = [{"type": "file", "path": f.name, "size": f.stat().st_size, "oid": f.name} for f in files]
            self.answer(json.dumps(rows).encode(), "application/json")
        elif "/revision/" in self.path:
            self.answer(json.dumps({"id": "x/y", "sha": "0" * 40}).encode(), "application/json")
        elif "/resolve/" in self.path:
            self.answer((self.folder / self.path.rsplit("/", 1)[1]).read_bytes(), "application/octet-stream")
        else:
            self.send_error(404)

    do_HEAD = do_GET

    def answer(self, body, kind):
        self.send_response(200)
        etag = f'"{self.path.rsplit("/", 1)[1]}"'
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", len(body)),
            ("ETag", etag),
            ("X-Repo-Commit", "0" * 40),
        ):
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args):
        pass


FETCH = (
    "import json, sys\nfrom instruct.evaluation import evaluate, make_pairs\n"
    "pairs = make_pairs(['a'], ['Clear lungs.'], ['Clear lungs.'])\n"
    "report = evaluate(pairs, metrics='bertscore', download=True, device='cpu')\n"
    "print(json.dumps({name: result.value for name, result in report.parts[0].results.items()}))\n"
    "print(json.dumps({name: [skip.reason, skip.remedy] for name, skip in report.parts[0].skipped.items()}))"
)


def fetch(cache, endpoint):
    env = {
        "HF_HUB_CACHE": str(cache),
        "HF_ENDPOINT": endpoint,
        "HOME": str(cache),
        "PATH": "/usr/bin:/bin",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run([sys.executable, "-c", FETCH], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()[-2:]]


def test_download_fetches_into_the_hub_cache_and_scores(tmp_path, monkeypatch, weights):
    Hub.folder = weights["distilroberta-base"]
    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        results, skipped = fetch(tmp_path, f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
    assert skipped == {}
    assert results["bertscore"] == pytest.approx(1, abs=1e-5)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))  # from there on it is found without the network
    pairs = make_pairs(["a"], ["Clear lungs."], ["Clear lungs."])
    assert evaluate(pairs, metrics="bertscore", device="cpu").result("bertscore").value == results["bertscore"]


def test_a_download_that_fails_is_said(tmp_path):
    results, skipped = fetch(tmp_path, "http://127.0.0.1:9")
    assert results == {}
    reason, remedy = skipped["bertscore"]
    assert reason == "download failed"
    assert "distilroberta-base (330 MB) from distilbert/distilroberta-base" in remedy


def test_every_known_weight_says_what_it_is():
    for weights in KNOWN.values():
        assert weights.size.split()[1] in ("MB", "GB")
        assert weights.licence
        assert weights.command.startswith(f"hf download {weights.repositories[0]} ")
    assert "bertscore_minilm" not in GROUPS["report"]
