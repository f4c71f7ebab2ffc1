"""The clients that people have, unchanged, against a real socket: they get the library's scores to 1e-6."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cohere
import httpx
import pytest
from cohere.errors import UnauthorizedError, UnprocessableEntityError
from langchain_core.documents import BaseDocumentCompressor, Document

from sightline.imaging import IsolatedDecoder
from tests.api.rerank_server import QUERY, Live, live

ROOT = Path(__file__).parents[2]
SAME = 1e-6
SHORT = {2}
"""Which pictures have less than 8,192 characters as data URIs."""
WITH_LITELLM = """
import json, sys
import litellm
url, key, query = sys.argv[1:4]
pictures = json.load(sys.stdin)
asked = {"query": query, "documents": pictures, "api_base": url, "api_key": key}
answers = [
    litellm.rerank(model=f"{provider}/{name}", **asked, **more)
    for provider, name, more in (
        ("cohere", "rerank-v3.5", {}),
        ("hosted_vllm", "BAAI/bge-reranker-v2-m3", {"max_tokens_per_doc": 512}),
        ("jina_ai", "jina-reranker-m0", {"top_n": 1}),
    )
]
print(json.dumps([[[one["index"], one["relevance_score"]] for one in found.results] for found in answers]))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, api_decoder: IsolatedDecoder) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("clients") / "data", api_decoder) as found:
        yield found


def is_the_librarys(server: Live, pairs: Iterable[tuple[int, float]], *, most: int = 3) -> None:
    """In the library's order, with its probabilities."""
    found = list(pairs)
    assert [index for index, _ in found] == server.order[:most]
    assert [score for _, score in found] == pytest.approx(
        [server.probabilities[index] for index in server.order[:most]], abs=SAME
    )


def test_what_is_compared_differs(server: Live) -> None:
    scores = [server.probabilities[index] for index in server.order]
    assert scores[0] - scores[1] > 1e-3 < scores[1] - scores[2]


def test_coheres_client_of_version_2(server: Live) -> None:
    client = cohere.ClientV2(api_key=server.key, base_url=server.url)
    answer = client.rerank(model="rerank-v3.5", query=QUERY, documents=server.uris, max_tokens_per_doc=4096)
    is_the_librarys(server, ((one.index, one.relevance_score) for one in answer.results))
    assert answer.id
    assert answer.meta is not None
    assert answer.meta.warnings == [
        "There is no model rerank-v3.5 here: demo scored.",
        "max_tokens_per_doc was not used: pictures have no tokens.",
    ]
    best = client.rerank(model="demo", query=QUERY, documents=server.uris, top_n=1, priority=0)
    is_the_librarys(server, ((one.index, one.relevance_score) for one in best.results), most=1)


def test_coheres_client_of_version_1_gets_its_short_strings_back(server: Live) -> None:
    client = cohere.Client(api_key=server.key, base_url=server.url)
    answer = client.rerank(model="rerank-v3.5", query=QUERY, documents=server.uris, return_documents=True)
    is_the_librarys(server, ((one.index, one.relevance_score) for one in answer.results))
    told = [None if one.document is None else one.document.text for one in answer.results]
    assert told == [server.uris[index] if index in SHORT else None for index in server.order]
    assert answer.meta is not None
    assert "not repeated" in (answer.meta.warnings or [""])[-1]


def test_coheres_client_raises_its_own_errors_with_our_sentences(server: Live) -> None:
    client = cohere.ClientV2(api_key=server.key, base_url=server.url)
    with pytest.raises(UnprocessableEntityError, match="Documents are pictures here"):
        client.rerank(model="rerank-v3.5", query=QUERY, documents=["a text about cars"])
    with pytest.raises(UnauthorizedError):
        cohere.ClientV2(api_key="wrong", base_url=server.url).rerank(
            model="rerank-v3.5", query=QUERY, documents=server.uris
        )


class CohereCompressor(BaseDocumentCompressor):
    """What langchain-cohere's CohereRerank does: pages go to the client, scores into the metadata."""

    client: Any
    top_n: int = 2

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Any = None
    ) -> Sequence[Document]:
        answer = self.client.rerank(
            model="rerank-english-v3.0", query=query, documents=[one.page_content for one in documents],
            top_n=self.top_n,
        )  # fmt: skip
        return [
            documents[one.index].model_copy(update={"metadata": {"relevance_score": one.relevance_score}})
            for one in answer.results
        ]


def test_a_document_compressor_of_langchain(server: Live) -> None:
    compressor = CohereCompressor(client=cohere.ClientV2(api_key=server.key, base_url=server.url))
    pages = [Document(page_content=uri, id=str(index)) for index, uri in enumerate(server.uris)]
    found = compressor.compress_documents(pages, QUERY)
    is_the_librarys(server, ((int(one.id or ""), one.metadata["relevance_score"]) for one in found), most=2)


@pytest.mark.long  # its import alone takes seven seconds of a processor
def test_litellm_through_three_of_its_providers(server: Live) -> None:
    """In a process of its own: it is slow to import, and must not ask the web for its prices."""
    done = subprocess.run(
        [sys.executable, "-c", WITH_LITELLM, server.url, server.key, QUERY],
        input=json.dumps(server.uris), capture_output=True, text=True, timeout=120, check=False,
        env=os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "127.0.0.1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    of_cohere, of_vllm, of_jina = json.loads(done.stdout.splitlines()[-1])
    for pairs in (of_cohere, of_vllm):
        is_the_librarys(server, pairs)
    is_the_librarys(server, of_jina, most=1)


def parts(server: Live) -> list[dict[str, Any]]:
    return [{"type": "image_url", "image_url": {"url": uri}} for uri in server.uris]


def test_vllms_published_example_of_a_rerank(server: Live) -> None:
    """examples/pooling/score/vision_rerank_api_online.py, with our pictures in place of the web's."""
    headers = {"Authorization": f"Bearer {server.key}"}
    model = httpx.get(f"{server.url}/v1/models", headers=headers).json()["data"][0]["id"]
    assert model == "demo"
    one, *_ = given = parts(server)
    for documents in ({"content": given}, [{"content": [part]} for part in given], given):
        answer = server.post("/rerank", {"model": model, "query": QUERY, "documents": documents}).json()
        is_the_librarys(server, ((each["index"], each["relevance_score"]) for each in answer["results"]))
        assert answer["usage"]["total_tokens"] == 0
        assert answer["meta"]["warnings"] == []
    text = {"type": "text", "text": "A woman plays with her dog."}
    for documents in ([text["text"]], {"content": [text]}, {"content": [text, one]}):
        refused = server.post("/rerank", {"model": model, "query": QUERY, "documents": documents})
        assert (refused.status_code, refused.json()["title"]) == (422, "Unprocessable Entity")


def test_vllms_published_example_of_a_score(server: Live) -> None:
    """docs/models/pooling_models/scoring.md and vision_score_api_online.py."""
    for documents in ({"content": parts(server)}, [{"content": [part]} for part in parts(server)]):
        body = {"model": "jinaai/jina-reranker-m0", "queries": QUERY, "documents": documents}
        answer = server.post("/v1/score", body).json()
        assert [one["index"] for one in answer["data"]] == [0, 1, 2]
        assert {one["object"] for one in answer["data"]} == {"score"}
        scores = [server.probabilities[index] for index in range(3)]
        assert [one["score"] for one in answer["data"]] == pytest.approx(scores, abs=SAME)
        assert answer["object"] == "list"
    body = {"text_1": QUERY, "text_2": documents, "use_activation": False, "encoding_format": "float"}
    raw = [one["score"] for one in server.post("/score", body).json()["data"]]
    assert raw == pytest.approx([server.logits[index] for index in range(3)], abs=1e-5)


def test_elastics_inputs(server: Live) -> None:
    """https://www.elastic.co/docs/api/elasticsearch/operation/operation-inference-rerank"""
    given = [{"type": "image", "format": "base64", "value": uri} for uri in server.uris]
    for query in (QUERY, {"type": "text", "value": QUERY}):
        answer = server.post("/v1/rerank", {"query": query, "input": given, "task_settings": {}}).json()
        is_the_librarys(server, ((one["index"], one["relevance_score"]) for one in answer["results"]))
    one = server.post("/v1/rerank", {"query": QUERY, "input": given[0]}).json()
    assert one["results"][0]["relevance_score"] == pytest.approx(server.probabilities[0], abs=SAME)


def test_jinas_request(server: Live) -> None:
    documents = [{"image": server.uris[0]}, {"image": server.uris[1].partition(",")[2]}, server.uris[2]]
    body = {"model": "jina-reranker-m0", "query": QUERY, "documents": documents, "return_documents": False}
    answer = server.post("/v1/rerank", body | {"top_n": 3}).json()
    is_the_librarys(server, ((one["index"], one["relevance_score"]) for one in answer["results"]))


def test_curl_as_the_page_on_compatibility_writes_it(server: Live, tmp_path: Path) -> None:
    (tmp_path / "car.png").write_bytes(server.pictures[0])
    text = (ROOT / "docs" / "compatibility.md").read_text()
    commands = re.findall(r"```bash\n(curl .*?)```", text, re.DOTALL)
    assert len(commands) == 3
    for command in commands:
        written = command.replace("localhost:8000", server.url.removeprefix("http://"))
        done = subprocess.run(
            ["bash", "-c", f"set -euo pipefail; {written}"], cwd=tmp_path, capture_output=True, timeout=60,
            env=os.environ | {"KEY": server.key}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        first = (answer.get("results") or answer["data"])[0]
        score = first.get("relevance_score", first.get("score"))
        assert score == pytest.approx(server.probabilities[0], abs=SAME), shlex.quote(written)
