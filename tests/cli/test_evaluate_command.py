"""``xmodal evaluate`` on the command line."""

import json

import ir_measures
import pytest

from indexer.cli.main import run
from tests.helpers import toy


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("toy")
    rows = []
    for name in toy.COLOURS:
        toy.paint(root / f"source/my {name}.png", name)
        rows.append(f"my {name},my {name}.png,Something {name}.,{'warm' if 'r' in name else 'cold'}")
    rows[0] = rows[0].replace("Something red", "Something blue")  # this caption finds the wrong picture
    (root / "source/m.csv").write_text("id,image,caption,kind\n" + "\n".join(rows), encoding="utf-8")
    with toy.encoders():
        for out, align in (("index", ()), ("other", ("--align", "conse"))):
            command = ["index", str(root / "source/m.csv"), "--out", str(root / out), "--preset", "toy"]
            assert run([*command, *align]) == 0
        yield root


@pytest.fixture
def evaluate(root, capsys, monkeypatch):
    """Run the command in the root folder; return its exit status, standard output and standard error."""
    monkeypatch.chdir(root)

    def call(*arguments):
        status = run(["evaluate", *arguments])
        output = capsys.readouterr()
        return status, output.out, output.err

    return call


def test_results_are_printed_as_tables(evaluate):
    status, out, err = evaluate(
        "index", "--by", "kind", "--compare", "--where", "kind = 'warm'", "--against", "other", "-k", "1"
    )
    assert (status, err) == (0, "")
    blocks = [block.splitlines() for block in out.split("\n\n")]
    titles = [block[0] for block in blocks]
    assert titles[0].startswith("split all, pool all where kind = 'warm', relevance item, captions all,")
    assert "95%, 1,000 resamples of the queries" in out
    assert "text-to-image by kind" in titles
    assert "text-to-image, exact and served search" in titles
    assert "text-to-image, first index minus second, same pool" in titles
    assert any(title.startswith("text-to-image: queries without relevant assets: my%20") for title in titles)
    assert any(line.startswith("hit@1 ") and line.endswith("]") for line in blocks[0])


def test_fail_under_names_the_metric_and_exits_with_1(evaluate):
    status, out, err = evaluate("index", "--task", "text-to-image", "--fail-under", "hit@1=0.95", "--json")
    assert (status, err) == (1, "xmodal: text-to-image: hit@1 is 0.9, under 0.95\n")
    assert json.loads(out)["tasks"]["text-to-image"]["hit@1"] == 0.9
    status, _, err = evaluate("index", "--fail-under", "hit@1=0.5", "--fail-under", "map@7=0.5")
    assert (status, err) == (0, "")


def test_trec_files_agree_with_ir_measures(evaluate, root):
    status, out, _ = evaluate(
        "index", "--task", "text-to-image", "--run-out", "run", "--qrels-out", "qrels", "--json"
    )
    assert status == 0
    figures = json.loads(out)["tasks"]["text-to-image"]
    measures = [ir_measures.RR, ir_measures.nDCG @ 10]
    expected = ir_measures.calc_aggregate(
        measures,
        list(ir_measures.read_trec_qrels(str(root / "qrels"))),
        list(ir_measures.read_trec_run(str(root / "run"))),
    )
    assert [figures["mrr"], figures["ndcg@10"]] == pytest.approx([expected[measure] for measure in measures])
    options = ("--task", "text-to-image", "--qrels", "qrels", "--run", "run", "--json")
    again = json.loads(evaluate("index", *options)[1])["tasks"]["text-to-image"]
    assert {name: again[name] for name in ("mrr", "ndcg", "hit@5")} == {
        name: figures[name] for name in ("mrr", "ndcg", "hit@5")
    }


def test_output_is_the_same_for_the_same_seed(evaluate):
    first = evaluate("index", "--seed", "7")
    assert first == evaluate("index", "--seed", "7")
    assert first != evaluate("index", "--resamples", "0")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fail-under", "hit@1"], "MEASURE=FIGURE"),
        (["--fail-under", "mean_rank=3"], "less is better"),
        (["--fail-under", "smell@1=3"], "unknown measure"),
        (["--run-out", "run"], "of one task, not of 2"),
        (["--captions", "0"], "captions must be at least 1"),
        (["--resamples", "-1"], "resamples must be at least 0"),
        (["--seed", "-1"], "seed must be at least 0"),
        (["--qrels", "nowhere"], "'nowhere' cannot be read"),
        (["--against", "nowhere"], "'nowhere' does not exist"),
        (["--by", "smell"], "smell"),
        (["--where", "kind = 'none'"], "0 assets in pool 'all' where kind = 'none'"),
    ],
)
def test_wrong_input_prints_one_line_and_exits_with_2(evaluate, arguments, message):
    status, out, err = evaluate("index", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
