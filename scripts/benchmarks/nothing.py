"""Measure whether percentiles show that nothing in an index matches a query: the figures of docs/alignment.md.

Usage: python scripts/benchmarks/nothing.py [INDEX] [--seeds 0 1 2] [--align METHOD] [--least 99.9 99.99]

INDEX is the index that scripts/demo made. A copy of it is fitted again for every seed, on the items that the seed does
not hold out. Two kinds of query search for images: held-out captions, whose images are in the index, and texts about
nothing that a stamp can show. Each query is rated by the percentile of its first image, and also by the plain score of
that image. The area under the ROC curve is how often a caption has the higher value. The last columns are the shares
of queries that would still find something with --min-percentile.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import mean

import _fitted
import numpy as np
from sklearn.metrics import roc_auc_score

import indexer
import retrieval
from retrieval import Query, SearchEngine
from retrieval.evaluation.modality_assets import Assets
from retrieval.types import Modality

UNRELATED_TEXTS = {
    # The background distribution of scores was designed with these texts.
    "first list": """
the treaty of Westphalia; asdf qwerty zxcv; quarterly revenue exceeded expectations; please unsubscribe me from this
list; the theory of general relativity; a proof by induction on the length of the list; terms and conditions apply;
the meeting was moved to Thursday; inflation rose by two percent last year; she apologised for her late reply; how to
file a tax return; the constitution was amended in 1791; undefined reference to main; segmentation fault, core dumped;
an ontological argument; the subjunctive mood in Latin; the causes of the First World War; your password has expired;
mortgage interest rates; the categorical imperative; a sonnet in iambic pentameter; he resigned from the board of
directors; minutes of the annual general meeting; a Bayesian estimate of the variance; the industrial revolution;
unemployment among young people; the separation of powers; the present perfect continuous; a breach of contract; the
customer is always right; lorem ipsum dolor sit amet; xkcd plmokn ijbuhv; qqqq wwww eeee; zzyzx vbnm hjkl; wqx rtpl
mngh kkd; blorf snarg wibble; foo bar baz qux; 1234567890; 3.14159265358979; 404 not found; the invisible hand of the
market; freedom of the press; nostalgia for a time before I was born; a conflict of interest; the law of diminishing
returns; human resources department; the quadratic formula; an existential crisis; customer satisfaction survey; the
right to remain silent; economic sanctions; a change of government; the speed of light in a vacuum; compound interest;
the decline of the Roman Empire; supply chain management; peer review; a matter of opinion; privacy policy; the end of
history""",
    # These texts were written after that design was fixed.
    "second list": """
the edict of Nantes; hjkl uiop bnm; shareholders approved the merger; you have been added to a mailing list; quantum
chromodynamics; a lemma about compact operators; subject to availability; the deadline was extended by a week; wages
fell behind prices; he thanked them for their patience; how to renew a passport; parliament was dissolved in May;
expected semicolon before return; stack overflow in recursive call; the problem of induction; the ablative absolute;
the origins of the Cold War; your session has timed out; a thirty year loan at a fixed rate; the veil of ignorance;
free verse without rhyme; she was elected treasurer; the agenda for the next session; a confidence interval for the
median; the age of enlightenment; a shortage of skilled labour; judicial review; the past participle of irregular
verbs; a violation of the licence; satisfaction guaranteed or your money back; sed ut perspiciatis unde omnis; mxqv
trw plk; aaaa zzzz xxxx; kjhg wert sdfg; vbg ytr nmkl ppo; glimp frobozz quaddle; spam eggs ham knights; 9876543210;
2.71828182845905; 500 internal server error; the tragedy of the commons; freedom of assembly; regret about words left
unsaid; a lack of evidence; the principle of least action; the accounts department; integration by parts; a sense of
belonging; terms of service; the burden of proof; a trade agreement; a vote of no confidence; the boiling point of
nitrogen; an overdraft fee; the rise of the Ottoman Empire; inventory turnover; a letter of recommendation; a
difference in principle; cookie settings; the meaning of life""",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table with one row for each list of texts: means over seeds."""
    parser = _fitted.options(__doc__)
    parser.add_argument("--align", default="auto")
    parser.add_argument("--least", type=float, nargs="+", default=[99.9, 99.99], metavar="PERCENTILE")
    options = parser.parse_args(argv)
    rows: dict[str, list[list[float]]] = {}
    with _fitted.copied(options.index) as copy:
        for seed in options.seeds:
            indexer.realign(copy, align=options.align, seed=seed, holdout=options.holdout)
            for name, row in _measure(retrieval.open(copy, device="cpu"), options.least).items():
                rows.setdefault(name, []).append(row)
    seeds = " ".join(map(str, options.seeds))
    print(f"{datetime.now(UTC):%Y-%m-%d}, {options.index.name}, {options.align}, seeds {seeds}")
    shares = [f"at least {least:g}" for least in options.least]
    columns = ["texts", "area by percentile", "area by score", "median percentile", *shares]
    print(f"| queries | {' | '.join(columns)} |")
    print("| --- " * (1 + len(columns)) + "|")
    for name, seed_rows in rows.items():
        count, *cells = (mean(column) for column in zip(*seed_rows, strict=True))
        print(f"| {name} | {count:.0f} | {' | '.join('' if np.isnan(c) else f'{c:.3f}' for c in cells)} |")


def _measure(engine: SearchEngine, thresholds: Sequence[float]) -> dict[str, list[float]]:
    """Return by list of texts: their count, both areas, the median percentile, and the share above each threshold."""
    captions = _first_results(engine, _held_out_captions(engine))
    rows = {"captions": [len(captions), np.nan, np.nan, *_percentile_cells(captions, thresholds)]}
    for name, texts in UNRELATED_TEXTS.items():
        unrelated = _first_results(engine, [" ".join(text.split()) for text in texts.split(";")])
        is_caption = np.arange(len(captions) + len(unrelated)) < len(captions)
        areas = [float(roc_auc_score(is_caption, both)) for both in np.concatenate([captions, unrelated]).T]
        rows[name] = [len(unrelated), *areas, *_percentile_cells(unrelated, thresholds)]
    return rows


def _held_out_captions(engine: SearchEngine) -> list[str]:
    """Return the held-out captions of items with an image."""
    texts, images = Assets.load(engine.index, Modality.TEXT), engine.index.table(Modality.IMAGE)
    chosen = texts.select_rows(held_out_only=True)
    return [
        texts.texts[row] or "" for row in chosen[np.isin(texts.table.items[chosen], images.items)].tolist()
    ]


def _first_results(
    engine: SearchEngine, texts: Sequence[str]
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return (n, 2): the percentile and the score of the first image for each text."""
    results = engine.search_batch([Query(text=text) for text in texts], to="image", k=1)
    return np.array([(hits[0].percentile, hits[0].score) for hits in results], np.float64)


def _percentile_cells(
    first_results: np.ndarray[tuple[int, int], np.dtype[np.float64]], thresholds: Sequence[float]
) -> list[float]:
    percentiles = first_results[:, 0]
    shares = (float((percentiles >= threshold).mean()) for threshold in thresholds)
    return [float(np.median(percentiles)), *shares]


if __name__ == "__main__":
    main()
