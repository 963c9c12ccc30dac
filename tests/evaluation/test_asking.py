"""Asking a judge: an endpoint that answers on this machine, a tiny language model in a folder, and the terms."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from instruct.digest import digest_file
from instruct.errors import DataError, TermsError, UsageError
from instruct.evaluation import Judge, evaluate, make_pairs
from instruct.evaluation.metric import Settings
from instruct.evaluation.models.endpoint import ask_endpoint
from instruct.evaluation.models.prompts import numbered, prompt_for
from instruct.evaluation.models.terms import check_terms
from instruct.specs.task_spec import load_task_specs
from tests.evaluation.test_judges import completion

TEXTS = ["Small effusion. Clear lungs.", "Clear lungs.", "Clear lungs.", "Large heart."]
PAIRS = make_pairs(list("abcd"), TEXTS, ["Clear lungs."] * 3 + ["Normal heart."])
PROMPT = "Compare {candidate} with {reference}."
URGENT = json.dumps({"0": {"clinical severity": "Urgent error"}})


class Endpoint(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.requests.append((self.path, body, self.headers.get("Authorization")))
            status, content = server.script(body, len(server.requests))
        said = json.dumps({"choices": [{"message": {"content": content}}]} if status == 200 else {"error": content})
        self.send_response(200 if status == "cut" else status)
        self.send_header("Content-Length", str(len(said) + (status == "cut")))
        self.end_headers()
        self.wfile.write(said.encode())

    def log_message(self, *args):
        pass


@pytest.fixture
def endpoint():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.lock, server.requests = threading.Lock(), []
    server.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def prompt(tmp_path):
    path = tmp_path / "prompt.txt"
    path.write_text(PROMPT)
    return path


def test_fineradscore_by_an_endpoint(tmp_path, endpoint, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    endpoint.script = lambda body, n: (200, URGENT if "effusion" in body["messages"][0]["content"] else "{}")
    report = evaluate(PAIRS, metrics="fineradscore", judges={"fineradscore": Judge(endpoint.url, "judge-7b")})
    assert report.parts[0].columns["fineradscore"].tolist() == [3, 1, 1, 1]
    assert len(endpoint.requests) == 3  # one of the four pairs is the same as another
    path, body, authorization = endpoint.requests[0]
    assert path == "/v1/chat/completions"
    assert (body["model"], body["temperature"], body["seed"], authorization) == ("judge-7b", 0, 0, "Bearer secret-key")
    sent = {body["messages"][0]["content"] for _, body, _ in endpoint.requests}
    assert any("[0] Small effusion [1] Clear lungs." in text for text in sent)
    made_with = report.parts[0].made_with
    assert made_with["judge of fineradscore"] == "judge-7b at 127.0.0.1"
    assert made_with["prompt of fineradscore"].startswith("built in, sha256 ")
    assert "torch" not in report.versions  # nothing ran here
    paths = report.write(tmp_path / "out")
    assert [path.name for path in paths[4:]] == ["judgements-fineradscore.jsonl"]
    assert "secret-key" not in "".join(path.read_text() for path in paths[1:])
    again = evaluate(PAIRS, metrics="fineradscore", judgements={"fineradscore": paths[4]})
    assert again.result("fineradscore").value == report.result("fineradscore").value


def test_green_by_an_endpoint_with_the_users_prompt(endpoint, prompt):
    endpoint.script = lambda body, n: (
        200,
        completion([1], 1) if "Large" in body["messages"][0]["content"] else completion([], 2),
    )
    report = evaluate(PAIRS, metrics="green", judges={"green": Judge(endpoint.url, "m", prompt)})
    assert report.parts[0].columns["green"].tolist() == [1, 1, 1, 0.5]
    assert endpoint.requests[0][1]["messages"][0]["content"].startswith("Compare ")
    assert "prompt.txt, sha256" in report.parts[0].made_with["prompt of green"]


def test_parts_keep_their_judgements_apart(tmp_path, endpoint):
    endpoint.script = lambda body, n: (200, URGENT if "effusion" in body["messages"][0]["content"] else "{}")
    extras = [{"task": "Findings Generation", "dataset": name} for name in ("OpenI", "Other")]
    pairs = make_pairs(["1", "1"], ["Small effusion.", "Clear."], ["Clear.", "Clear."], extras)
    report = evaluate(pairs, metrics="fineradscore", judges={"fineradscore": Judge(endpoint.url, "m")})
    path = report.write(tmp_path)[4]
    assert len(path.read_text().splitlines()) == 2
    again = evaluate(pairs, metrics="fineradscore", judgements={"fineradscore": path})
    assert [part.results["fineradscore"].value for part in again.parts] == [3, 1]


def test_unreadable_answers_are_asked_for_again_and_then_counted(endpoint):
    endpoint.script = lambda body, n: (200, "{}" if body["seed"] == 2 else "I cannot say")
    pairs = make_pairs(["a"], ["Clear."], ["Clear."])
    judges = {"fineradscore": Judge(endpoint.url, "m")}
    assert evaluate(pairs, metrics="fineradscore", judges=judges).result("fineradscore").value == 1
    assert [body["seed"] for _, body, _ in endpoint.requests] == [0, 1, 2]
    endpoint.script = lambda body, n: (200, None)
    report = evaluate(pairs, metrics="fineradscore", judges=judges)
    assert report.parts[0].counts["fineradscore_failed"] == 1
    assert report.result("fineradscore").reason == "no study has a score"


def test_a_busy_endpoint_is_asked_again_and_a_lost_one_keeps_what_it_said(endpoint):
    endpoint.script = lambda body, n: (503, "busy") if n < 3 else (200, "{}")
    judge = Judge(endpoint.url, "m")
    assert ask_endpoint(judge, ["one"], lambda answer: True, pause=0.01) == ["{}"]
    assert len(endpoint.requests) == 3
    endpoint.requests.clear()
    endpoint.script = lambda body, n: (200, "{}") if body["messages"][0]["content"] == "one" else (401, "expired")
    assert ask_endpoint(judge, ["one", "two", "three"], lambda answer: True, pause=0.01) == ["{}", None, None]


def test_an_answer_that_breaks_off_is_asked_for_again(endpoint):
    endpoint.script = lambda body, n: ("cut" if n == 1 else 200, "{}")
    assert ask_endpoint(Judge(endpoint.url, "m"), ["one"], lambda answer: True, pause=0.01) == ["{}"]
    assert len(endpoint.requests) == 2


def test_a_refusal_is_said_at_once(endpoint):
    endpoint.script = lambda body, n: (401, "no such key")
    with pytest.raises(UsageError, match=r"judge http://127.*/chat/completions: HTTP 401 Unauthorized: .*no such key"):
        evaluate(PAIRS, metrics="fineradscore", judges={"fineradscore": Judge(endpoint.url, "m")})
    assert len(endpoint.requests) == 1
    with pytest.raises(UsageError, match=r"no answer after 5 attempts \(.*refused.*\); check the URL"):
        ask_endpoint(Judge("http://127.0.0.1:9/v1", "m"), ["one"], lambda answer: True, pause=0.001)


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        (
            Judge("nowhere", "m"),
            r"judge 'nowhere': expected a URL like http://localhost:8000/v1, or a folder that exists",
        ),
        (Judge("http://localhost:1/v1"), r"no model named; give --judge-model NAME=MODEL"),
    ],
)
def test_judges_that_cannot_be_asked(judge, message):
    with pytest.raises(UsageError, match=message):
        evaluate(PAIRS, metrics="fineradscore", judges={"fineradscore": judge})
    with pytest.raises(UsageError, match="no judge is asked for 'bleu2'; expected green or fineradscore"):
        evaluate(PAIRS, metrics="bleu2", judges={"bleu2": judge})


ELSEWHERE = {"fineradscore": Judge("http://judge.invalid/v1", "m")}


@pytest.mark.parametrize(
    ("dataset", "why"),
    [
        ("REX-Gradient", r"REX-Gradient \(REX-Gradient is gated: .*\)"),
        ("rexgradient", r"rexgradient \(REX-Gradient is gated"),
        ("Our hospital", r"Our hospital \(terms unknown\)"),
        ("", r"a dataset that the file does not name \(terms unknown\)"),
    ],
)
def test_closed_and_unknown_sources_are_not_sent_to_third_parties(dataset, why):
    pairs = make_pairs(["a"], ["x"], ["y"], [{"dataset": dataset}])
    with pytest.raises(
        TermsError, match=rf"fineradscore would send 1 pairs of reports to judge.invalid: {why}.*--allow-th"
    ):
        evaluate(pairs, metrics="fineradscore", judges=ELSEWHERE)
    assert TermsError.exit_code == 5


def test_reports_of_every_credentialed_or_gated_source_stay_here():
    sources = {entry.spec.dataset: entry.spec.access for entry in load_task_specs()}
    assert len(sources) > 20
    for dataset, access in sources.items():
        pairs = make_pairs(["a"], ["x"], ["y"], [{"dataset": dataset}])
        if access in ("credentialed", "gated", "registration"):
            with pytest.raises(TermsError):
                check_terms("green", pairs, "https://judge.invalid/v1", Settings())
        check_terms("green", pairs, "http://localhost:8000/v1", Settings())


def test_open_sources_and_the_users_word_may_be_sent(monkeypatch):
    openi = make_pairs(["a"], ["x"], ["y"], [{"dataset": "OpenI"}])
    closed = make_pairs(["a"], ["x"], ["y"], [{"dataset": "REX-Gradient"}])
    check_terms("green", openi, "https://judge.invalid/v1", Settings())
    check_terms("green", closed, "https://judge.invalid/v1", Settings(allow_third_party=True))
    for here in ("http://localhost:8000/v1", "http://127.0.0.1/v1", "http://[::1]:80/v1"):
        check_terms("green", closed, here, Settings())
    for away in ("http://localhost.example.org/v1", "http://10.0.0.1/v1", "http://user@judge.invalid/v1"):
        with pytest.raises(TermsError):
            check_terms("green", closed, away, Settings())


def test_prompts(tmp_path, prompt):
    assert prompt_for("green", prompt).write("a b", "{reference} c") == "Compare {reference} c with a b."
    words = " ".join(map(str, range(400)))
    assert prompt_for("green", prompt).write(words, "x").endswith(" 298 299.")
    assert words in prompt_for("fineradscore", prompt).write(words, "x")
    with pytest.raises(DataError, match="no such prompt file"):
        prompt_for("green", tmp_path / "gone")
    prompt.write_text("only {reference}")
    with pytest.raises(DataError, match=r"lacks \{candidate\}"):
        prompt_for("green", prompt)


def test_sentences_are_numbered_as_fineradscore_numbers_them():
    assert (
        numbered("Heart is 1.5 cm. Lungs clear. No effusion.") == "[0] Heart is 1.5 cm [1] Lungs clear [2] No effusion."
    )


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    from tests.evaluation.tiny import llama

    folder = tmp_path_factory.mktemp("judge")
    llama(folder)
    return folder


def test_a_judge_in_a_folder(language_model, prompt):
    judges = {"fineradscore": Judge(str(language_model), prompt=prompt)}
    report = evaluate(PAIRS, metrics="fineradscore", judges=judges, device="cpu")
    outputs = report.parts[0].outputs["fineradscore"]
    assert all(isinstance(output, str) for output in outputs)
    assert outputs[1] == outputs[2]
    made_with = report.parts[0].made_with
    assert made_with["judge of fineradscore"] == f"model in the folder {language_model.name}"
    expected = f"sha256 {digest_file(language_model / 'model.safetensors')}"
    assert made_with["judge of fineradscore/model.safetensors"] == expected
    assert "torch" in report.versions
    alone = evaluate(PAIRS.select([3]), metrics="fineradscore", judges=judges, device="cpu")
    assert alone.parts[0].outputs["fineradscore"] == outputs[3:]  # beside longer prompts or alone


def test_a_judge_here_is_loaded_and_read_once_for_all_parts(language_model, prompt, monkeypatch):
    from instruct.evaluation.models import local_judge, weights

    loaded, digested = [], []
    load, digest = local_judge.load_model, weights.digest_file
    monkeypatch.setattr(local_judge, "load_model", lambda *a, **k: loaded.append(a) or load(*a, **k))
    monkeypatch.setattr(weights, "digest_file", lambda path: digested.append(path) or digest(path))
    extras = [{"task": "Findings Generation", "dataset": name} for name in "abcd"]
    pairs = make_pairs(PAIRS.ids, PAIRS.predictions, PAIRS.references, extras)
    for judge, given in (
        (Judge(prompt=prompt), {"weights": {"green": language_model}}),
        (Judge(str(language_model), prompt=prompt), {}),
    ):
        report = evaluate(pairs, metrics="green", judges={"green": judge}, device="cpu", **given)
        assert len(report.parts) == 4
        assert all(any("model.safetensors" in name for name in part.made_with) for part in report.parts)
        assert len(loaded) == 1
        assert len(digested) == len(set(digested)) > 0
        loaded.clear(), digested.clear()


def test_greens_own_model_is_found_by_its_name_and_reads_its_turns(language_model, prompt):
    judges = {"green": Judge(prompt=prompt)}
    report = evaluate(PAIRS, metrics="green", judges=judges, weights={"green": language_model}, device="cpu")
    assert report.parts[0].counts["green_incomplete"] == 4  # a random model writes nonsense
    assert "green/model.safetensors" in report.parts[0].made_with
    other = evaluate(PAIRS, metrics="green", judges={"green": Judge(str(language_model), prompt=prompt)}, device="cpu")
    assert other.parts[0].outputs["green"] != report.parts[0].outputs["green"]  # another model: not in GREEN's turns
    without = evaluate(PAIRS, metrics="green", weights={"green": language_model})
    assert "--judge-prompt green=FILE" in without.parts[0].skipped["green"].remedy
