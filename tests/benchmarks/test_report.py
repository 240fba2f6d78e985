"""The report as it is written: whole or not at all, its tables, its page and its pictures."""

import base64
import json
import re
from html.parser import HTMLParser

import pytest

from benchmarks.reporting import document, page
from tests.support.process import ROOT, python, start
from tests.support.records import compared, failed, record, trained

RECORDS = ROOT / "benchmarks" / "results" / "two_cores.jsonl"
MARKS = "<!-- results -->", "<!-- end of results -->"


def report(*arguments, **environment):
    """Runs the report; fails where it fails."""
    done = python("-m", "benchmarks.report", *arguments, COLUMNS="300", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


NASTY = 'x<script>alert("&")</script>|`*'


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of a report on runs of many kinds."""
    pytest.importorskip("matplotlib")
    where = tmp_path_factory.mktemp("report")
    many = [record(float(rate), time=f"2030-01-0{i}T00:00:00+00:00") for i, rate in enumerate(range(500, 570, 10), 1)]
    pair = [record(10.5, batch_size=1), record(12.5, batch_size=1)]
    found = [
        *many, *pair, failed(batch_size=4096), trained(metric="pair_accuracy", score=0.875, epochs=1),
        record(1000.0, batch_size=256, is_steady=False, peak_memory_bytes=5 * 2**20, commit="b" * 40),
        record(arch=NASTY, data="synthetic", dataset="synthetic", command=["throughput.py", f"--arch={NASTY}"]),
        record(mode="inference"), record(device="Big GPU", driver="5.5", cuda="13", backend="torch", tf32=True),
    ]  # fmt: skip
    runs = where / "runs.jsonl"
    runs.write_text("".join(json.dumps(each) + "\n" for each in found))
    printed = report(runs, f"--out={where}/new/report")
    assert printed == f"wrote {where}/new/report/report.html and, with its pictures, report.md\n"
    return where / "new" / "report"


def tables(text):
    """The tables of a Markdown document by the heading above: a dictionary for each row."""
    found = {}
    for part in re.split(r"^#+ ", text, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in body.splitlines() if line.startswith("|")]
        if lines:
            headings, _, *cells = [[cell.strip() for cell in line] for line in lines]
            found[title] = [dict(zip(headings, row, strict=True)) for row in cells]
    return found


def test_the_tables_say_it_all(written):
    found = tables((written / "report.md").read_text())
    device = "2 cores of Abacus 9"
    assert [len(found[f"{title}, {device}"]) for title in ("Training on real images", "Inference on real images")] == [
        5,
        1,
    ]
    one, many, scored, steady, failed_row = found[f"Training on real images, {device}"]
    common = {"network": "`resnet20`", "data": "cifar10", "parameters": "270,000"}
    how = "jax 0.9, resident, float32, XLA"
    blank = dict.fromkeys(("runs", "test score", "trained for", "remark"), "")
    assert one == common | blank | {
        "batch": "1", "how": how, "images/s": "11.5", "interval": "range 10.5–12.5", "runs": "2",
        "step, ms": "80 (80–95.2)", "share of peak": "0.276 %", "peak memory": "3 MiB",
    }  # fmt: skip
    assert many == common | blank | {
        "batch": "128", "how": how, "images/s": "530", "interval": "510–550", "runs": "7",
        "step, ms": "242 (229–256)", "share of peak": "12.7 %", "peak memory": "3 MiB",
    }  # fmt: skip
    assert scored == common | dict.fromkeys(one, "") | common | {
        "batch": "128", "how": how, "images/s": "1,000", "test score": "87.50 % pair accuracy",
        "trained for": "1 epoch, 30 s",
    }  # fmt: skip
    assert steady == common | blank | {
        "batch": "256", "how": how, "images/s": "1,000", "interval": "1,000–1,000", "step, ms": "256 (256–256)",
        "share of peak": "24 %", "peak memory": "5 MiB", "remark": "not steady",
    }  # fmt: skip
    assert failed_row == dict.fromkeys(one, "") | common | {"batch": "4,096", "how": how, "images/s": "out of memory"}
    (inferred,) = found[f"Inference on real images, {device}"]
    assert not {"runs", "test score", "trained for", "remark"} & set(inferred)
    (gpu,) = found[f"Training on real images, Big GPU with {device}"]
    assert gpu["how"] == "torch 2.9, resident, float32 with TF32, XLA"
    (synthetic,) = found[f"Training on random numbers, {device}"]
    assert synthetic["data"] == "synthetic"


def test_the_environment_and_the_commands_are_there(written):
    text = (written / "report.md").read_text()
    found = tables(text)
    here = {row["what"].strip("`"): row["value"] for row in found["2 cores of Abacus 9"]}
    assert (here["processor"], here["cores"], here["memory"]) == ("Abacus 9", "2", "16 GiB")
    assert (here["keras"], here["jax"], here["commit"]) == ("3.12.0", "0.9", "aaaaaaa; bbbbbbb")
    assert here["time"] == "2030-01-01T00:00:00+00:00 to 2030-01-07T00:00:00+00:00"
    assert "driver" not in here
    there = {row["what"].strip("`"): row["value"] for row in found["Big GPU with 2 cores of Abacus 9"]}
    assert (there["driver"], there["CUDA"], there["time"]) == ("5.5", "13", "2030-01-01T00:00:00+00:00")
    first, second = re.findall(r"<details>.*?</details>", text, re.DOTALL)
    assert "The commands of 14 runs" in first
    assert "\nKERAS_BACKEND=jax python -m benchmarks.throughput --arch=resnet20  # 13 times\n" in first
    assert "\nKERAS_BACKEND=torch python -m benchmarks.throughput --arch=resnet20\n" in second


class Outline(HTMLParser):
    """What is in a page, and whether its tags close."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.texts.append(text)

    def all(self, tag):
        return [attributes for each, attributes in self.tags if each == tag]


def test_the_page_is_whole_and_asks_for_nothing(written):
    text = (written / "report.html").read_text()
    outline = Outline(text)
    assert not outline.open
    assert not {tag for tag, _ in outline.tags} & {"script", "link", "iframe", "object"}
    assert not re.search(r"url\(|@import|https?://", text)
    assert "default-src 'none'" in outline.all("meta")[1]["content"]
    addresses = [value for _, attributes in outline.tags for key, value in attributes.items() if key in ("src", "href")]
    assert len(addresses) == len(outline.all("img")) > 8
    assert all(address.startswith("data:image/svg+xml;base64,") for address in addresses)
    assert all(image["alt"] for image in outline.all("img"))
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert len(outline.all("details")) == 2
    # Seven sections and environments, each with a head; eight rows of results, and the facts.
    assert len(outline.all("table")) == 4 + 2
    assert NASTY in outline.texts
    assert any(f"--arch={NASTY}" in each for each in outline.texts)


def test_the_pictures_of_the_page_are_those_beside_the_document(written):
    images = Outline((written / "report.html").read_text()).all("img")
    embedded = [base64.b64decode(image["src"].partition(",")[2]) for image in images]
    names = re.findall(r"!\[[^]]+\]\((.*?)\)", (written / "report.md").read_text())
    assert len(set(names)) == len(names)
    assert [(written / name).read_bytes() for name in names] == embedded
    assert {path.name for path in written.iterdir()} == {*names, "report.md", "report.html"}
    assert all(b"<svg" in picture and b"<text" not in picture for picture in embedded)
    assert "**Test score against throughput.** Omitted: " in (written / "report.md").read_text()


def test_the_same_records_give_the_same_bytes(written, tmp_path):
    (tmp_path / "matplotlibrc").write_text("font.size: 20\naxes.facecolor: red\nsvg.fonttype: none\n")
    report(
        written.parents[1] / "runs.jsonl", f"--out={tmp_path}/again",
        MATPLOTLIBRC=str(tmp_path), PYTHONHASHSEED="1", TZ="Asia/Tokyo",
    )  # fmt: skip
    for path in written.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_runs_of_a_comparison_are_shown_by_its_command():
    parent = {"command": ["throughput.py", "--nopeak"], "parent_command": ["versus.py", "--peer=torch"]}
    pair = [record(**parent, backend="jax"), record(**parent, backend="torch", peer="torch")]
    fit = {"command": ["throughput.py"], "parent_command": ["versus.py", "--peer=fit"]}
    both = [record(**fit), record(**fit, input="fit")]
    cut_short = record(command=["throughput.py"], parent_command=["versus.py", "--peer=timm:x"], peer="timm:x")
    assert document.commands([*pair, *pair, *both, record(), cut_short]) == [
        "KERAS_BACKEND=jax python -m benchmarks.throughput --arch=resnet20",
        "KERAS_BACKEND=jax python -m benchmarks.versus --peer=torch  # 2 runs of each side",
        "KERAS_BACKEND=jax python -m benchmarks.versus --peer=fit",
        "KERAS_BACKEND=jax python -m benchmarks.versus --peer=timm:x",
    ]


def test_a_second_report_takes_the_place_of_the_first(tmp_path):
    for rate in (111.0, 222.0):
        (tmp_path / "runs.jsonl").write_text(json.dumps(trained(rate)) + "\n")
        report(tmp_path / "runs.jsonl", f"--out={tmp_path}/out")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| 222 |" in text
    assert "| 111 |" not in text
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.md", "report.html"}


def test_a_comparison_is_shown_once(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(compared()) + "\n")
    assert report(tmp_path / "a.jsonl", tmp_path / "b.jsonl").count("2.00 (1.90–2.10)") == 1


def test_without_flags_the_tables_are_printed(tmp_path):
    (tmp_path / "runs.jsonl").write_text(json.dumps(record(rate=1234.0)) + "\n")
    printed = report(tmp_path / "runs.jsonl")
    assert printed.startswith("### Training on real images, 2 cores of Abacus 9\n\n| network |")
    assert [row["images/s"] for (row,) in tables(printed).values()] == ["1,234"]
    assert report() == report(*sorted(RECORDS.parent.glob("*.jsonl")))


def test_the_tables_go_between_the_marks_of_a_document(tmp_path):
    document = tmp_path / "page.md"
    document.write_text(f"before\n\n{MARKS[0]}\nold\n{MARKS[1]}\n\nafter\n")
    assert report(RECORDS, f"--into={document}") == ""
    assert document.read_text() == f"before\n\n{MARKS[0]}\n{report(RECORDS)}{MARKS[1]}\n\nafter\n"


def test_a_document_is_written_through_its_link(tmp_path):
    document, link = tmp_path / ("n" * 250), tmp_path / "page.md"
    document.write_text("".join(MARKS), encoding="utf-8")
    link.symlink_to(document)
    report(RECORDS, f"--into={link}")
    assert link.is_symlink()
    assert document.read_text() == f"{MARKS[0]}\n{report(RECORDS)}{MARKS[1]}"
    assert len(list(tmp_path.iterdir())) == 2


def test_whoever_stops_reading_gets_no_traceback():
    run = start("-m", "benchmarks.report")
    run.stdout.close()
    assert (run.stderr.read(), run.wait()) == ("", 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{folder}/runs.jsonl", "--into={folder}/latin.md"], "--into={folder}/latin.md can't be read: 'utf-8' codec"),
        (["{folder}/runs.jsonl", "--into={folder}/" + 300 * "n"], "must be a document with the marks"),
        (["{folder}/empty.jsonl"], "there are no records in {folder}/empty.jsonl"),
        (["{folder}/none.jsonl"], "none.jsonl can't be read"),
        (["--into={folder}/empty.jsonl"], "--into={folder}/empty.jsonl must be a document with the marks"),
        (
            ["{folder}/runs.jsonl", "--out={folder}/empty.jsonl"],
            "--out={folder}/empty.jsonl can't be written: File exists",
        ),
        (
            ["{folder}/runs.jsonl", "--out={folder}/empty.jsonl/below"],
            "--out={folder}/empty.jsonl/below can't be written: Not a directory",
        ),
        # Before the records are read.
        (["{folder}/none.jsonl", "--out={folder}/empty.jsonl"], "--out={folder}/empty.jsonl can't be written: File"),
        (["{folder}/none.jsonl", "--into={folder}/empty.jsonl"], "must be a document with the marks"),
        (
            ["{folder}/runs.jsonl", "--out={folder}/taken"],
            "--out={folder}/taken can't be written: report.html is a folder",
        ),
    ],
)
def test_what_cannot_be_done_is_one_sentence(tmp_path, arguments, message):
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "latin.md").write_bytes("".join(MARKS).encode() + b"\xe9")
    (tmp_path / "runs.jsonl").write_text(json.dumps(failed()) + "\n")
    (tmp_path / "taken" / "report.html").mkdir(parents=True)
    done = python("-m", "benchmarks.report", *(argument.format(folder=tmp_path) for argument in arguments))
    assert done.returncode == 1
    assert (
        done.stderr.startswith(f"error: {message.format(folder=tmp_path)}")
        or message.format(folder=tmp_path) in done.stderr
    )
    assert done.stderr.count("\n") == 1
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["report.html"]


FULL = """
import errno, sys
from pathlib import Path
from benchmarks.reporting import output
from benchmarks.terminal.errors import UsageError

write_text = Path.write_text
def fail(self, text, **options):
    if "last" in text:
        raise OSError(errno.ENOSPC, "No space left on device")
    return write_text(self, text, **options)
Path.write_text = fail
try:
    output.write(Path(sys.argv[1]), {"first": "new", "second": "last new"}, "--out")
except UsageError as error:
    print(error)
"""


def test_a_report_is_written_whole_or_not_at_all(tmp_path):
    (tmp_path / "first").write_text("old")
    done = python("-c", FULL, tmp_path)
    assert done.stdout == "--out can't be written: No space left on device\n"
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("first", "old")]


WITHOUT = """
import runpy, sys
sys.modules["matplotlib"] = None
runpy.run_module("benchmarks.report", run_name="__main__")
"""


def test_only_plots_need_matplotlib(tmp_path):
    done = python("-c", WITHOUT, RECORDS)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == report(RECORDS)
    done = python("-c", WITHOUT, RECORDS, f"--out={tmp_path}/new")
    assert done.returncode == 1
    assert done.stderr == "error: the plots need the package matplotlib: pip install -e '.[report]'\n"
    assert not (tmp_path / "new").exists()


def test_text_is_escaped_in_both_forms():
    table = page.Table(("a<i>", "b"), [("x|*y*", "p|*q*<i>")], frozenset("b"))
    assert table.markdown() == "| a\\<i> | b |\n| --- | ---: |\n| `x\\|*y*` | p\\|\\*q\\*\\<i> |"
    outline = Outline(table.html())
    assert [text for text in outline.texts if text.strip()] == ["a<i>", "b", "x|*y*", "p|*q*<i>"]
    title = '"><b>'
    (image,) = Outline(page.Picture("f.svg", "<svg/>", title, "<u>").html()).all("img")
    assert image["alt"] == title
    assert "<b>" not in page.html(
        "<b>", [page.Heading(1, "<b>"), page.Paragraph("<b>", "<b>"), page.Commands("<b>", ["<b>"])]
    )
