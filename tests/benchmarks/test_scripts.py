"""The scripts as a person runs them: what they print, what they write, and one sentence where something is wrong."""

import hashlib
import json
import math
import os
import re
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest

from benchmarks.data import glyphs
from tests.support import process
from tests.support.marks import slow
from tests.support.process import ROOT

BACKEND = keras.backend.backend()

# A start costs seconds, so many runs share a process: each begins with the flags as they were.
MANY = """
import importlib, json, logging, os, sys, tempfile
from absl import flags
from absl.testing import flagsaver

modules = {name: importlib.import_module(f"benchmarks.{name}") for name in ("train", "throughput")}
from benchmarks.terminal.launch import launch

# It warns of functions that are traced often, as those of so many runs are.
logging.getLogger("tensorflow").setLevel("ERROR")
answers = {}
real = os.dup(1), os.dup(2)
for name, (script, arguments) in json.load(sys.stdin).items():
    sys.argv = [f"{script}.py", *arguments]
    saved = flagsaver.save_flag_values(flags.FLAGS)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
        try:
            launch(modules[script].main)
        except SystemExit as leaving:
            code = leaving.code
            if isinstance(code, str):
                print(code, file=sys.stderr)
                code = 1
        except Exception:
            import traceback

            traceback.print_exc()
            code = "an exception"
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os.dup2(real[0], 1), os.dup2(real[1], 2)
        out.seek(0), err.seek(0)
        answers[name] = [code, out.read().decode(), err.read().decode()]
    flagsaver.restore_flag_values(saved)
print(json.dumps(answers))
"""


def python(*arguments, **options):
    """Runs Python in the checkout as a person does who has not set anything."""
    return process.python(*arguments, TF_CPP_MIN_LOG_LEVEL=None, TFDS_DATA_DIR=None, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the drawn digits `digits.npz`, too small ones and no images at all."""
    where = tmp_path_factory.mktemp("scripts")
    train, test = glyphs.digits(2000, seed=0), glyphs.digits(500, seed=1)
    small_net((28, 28, 1)).save(where / "mine.keras")
    np.savez(where / "digits.npz", x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1])
    small = {f"x_{split}": np.zeros((20, 4, 4), np.uint8) for split in ("train", "test")}
    np.savez(where / "small.npz", **small, **{f"y_{split}": np.arange(20) % 10 for split in ("train", "test")})
    (where / "text.keras").write_text("no archive")
    (where / "bad.npz").write_bytes((where / "digits.npz").read_bytes()[:5000])
    return where


def small_net(input_shape=(8, 8, 1), classes=10):
    """A network of one's own, for `--model=tests.benchmarks.test_scripts:small_net`."""
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, keras.layers.Dense(classes)(keras.layers.Flatten()(inputs)))


LENET = ("--arch=lenet_tiny", "--data=npz:{folder}/digits.npz")

# Name: script, flags, and what the one line must tell.
WRONG = {
    "unknown network": ("train", ["--arch=lenet_tiney"], ["--arch", "'lenet_tiney'", "lenet_tiny"]),
    "unknown data set": ("train", ["--dataset=mnits"], ["--dataset", "'mnits'", "did you mean mnist?"]),
    "unknown source": ("train", ["--data=tfdss"], ["--data", "'tfdss'", "did you mean tfds?"]),
    "unknown input": ("train", ["--input=resident1"], ["--input", "did you mean resident?"]),
    "unknown policy": ("train", ["--dtype_policy=mixed_float61"], ["--dtype_policy", "did you mean mixed_float16?"]),
    "unknown jit": ("train", ["--jit=maybe"], ["--jit", "auto, on, off", "'maybe'"]),
    "unknown optimiser": ("train", [*LENET, "--optimizer=adamm"], ["--optimizer", "'adamm'", "adam"]),
    "unknown argument": ("train", [*LENET, "--optimizer=sgd", "--optimizer_argument=momentun=1"], ["momentun"]),
    "no value": ("train", [*LENET, "--optimizer_argument=momentum"], ["--optimizer_argument", "KEY=VALUE"]),
    "unknown override": ("train", [*LENET, "--override=dropuot=0.5"], ["`dropuot`", "did you mean `dropout`?"]),
    "bad override": ("train", [*LENET, "--override=style=style.NOPE"], ["--override", "'style.NOPE'", "kblocks"]),
    "no file": ("train", ["--data=npz:{folder}/none.npz"], ["there is no file", "none.npz"]),
    "bad file": ("train", ["--data=npz:{folder}/bad.npz"], ["bad.npz"]),
    "a long path": ("train", ["--data=npz:{folder}/" + 300 * "n"], ["there is no file"]),
    "a long name for the record": ("train", [*LENET, "--out={folder}/" + 300 * "n"], ["--out=", "File name too long"]),
    "a long name for the network": (
        "train",
        [*LENET, "--save={folder}/" + 300 * "n" + ".keras"],
        ["--save=", "File name too long"],
    ),
    "no path": ("train", ["--data=npz:PATH"], ["npz:PATH"]),
    "no data": ("train", ["--dataset=mnist", "--data_dir={folder}/empty"], ["mnist is not in", "--data=generated"]),
    "large batch": ("train", [*LENET, "--batch_size=2001"], ["--batch_size", "2000", "got 2001"]),
    "small images": (
        "train",
        ["--arch=lenet_tiny", "--data=npz:{folder}/small.npz", "--batch_size=4"],
        ["lenet_tiny can't be built for inputs of 4×4×1"],
    ),
    "vectors": ("train", ["--arch=multi_input_tiny", "--data=npz:{folder}/digits.npz"], ["multi_input_tiny"]),
    "augmented pairs": (
        "train",
        ["--arch=siamese_tiny", "--data=npz:{folder}/digits.npz", "--augment"],
        ["--augment is for classification"],
    ),
    "two outputs for fit": (
        "throughput",
        ["--arch=shared_dense_tiny", "--dataset=synthetic", "--input=fit"],
        ["--input=fit", "one output"],
    ),
    "no folder for the network": ("train", [*LENET, "--save={folder}/nowhere/net.keras"], ["--save=", "no folder"]),
    "wrong ending": ("train", [*LENET, "--save={folder}/net.h5"], ["--save", ".keras", "net.h5"]),
    "no folder for the record": ("train", [*LENET, "--out={folder}/nowhere/runs.jsonl"], ["--out=", "no folder"]),
    "a folder for the record": ("throughput", [*LENET, "--out={folder}"], ["--out=", "can't be written"]),
    "positional": ("train", [*LENET, "arch=lenet"], ["unexpected argument 'arch=lenet'", "--name=value"]),
    "no flag": ("train", [*LENET, "--nonsense=1"], ["nonsense"]),
    "no number": ("train", [*LENET, "--batch_size=many"], ["--batch_size", "positive integer", "'many'"]),
    "no examples": ("train", [*LENET, "--batch_size=0"], ["--batch_size", "positive integer", "'0'"]),
    "fewer than none": ("throughput", [*LENET, "--batch_size=-3"], ["--batch_size", "positive integer", "'-3'"]),
    "a part of an example": ("throughput", [*LENET, "--batch_size=1.5"], ["--batch_size", "'1.5'"]),
    "the largest in training": ("train", [*LENET, "--batch_size=max"], ["--batch_size", "positive integer", "'max'"]),
    "several batches": ("train", [*LENET, "--batch_size=32,64"], ["--batch_size", "positive integer", "'32,64'"]),
    "no batch between commas": ("throughput", [*LENET, "--batch_size=32,,64"], ["--batch_size", "''"]),
    "unknown mode": ("throughput", [*LENET, "--mode=infer"], ["--mode", "training, inference", "'infer'"]),
    "unknown peer": ("throughput", [*LENET, "--peer=pytorch"], ["--peer", "did you mean torch?", "timm:NAME"]),
    "the former input": ("throughput", [*LENET, "--input=plain_torch"], ["--input", "resident, stream, fit"]),
    "unknown peer of keras": (
        "throughput",
        [*LENET, "--peer=keras_applications:Resnet50"],
        ["--peer=keras_applications:Resnet50", "did you mean ResNet50?"],
    ),
    "a file for the trace": ("throughput", [*LENET, "--trace={folder}/digits.npz"], ["--trace=", "can't be made"]),
    "no steps": ("throughput", [*LENET, "--steps=0"], ["--steps=0"]),
    "a peer without the network": (
        "throughput",
        ["--arch=googlenet", "--dataset=synthetic", "--peer=torch"],
        ["--peer=torch has the networks mlp_784_64_10, lenet, resnet20; got --arch=googlenet"],
    ),
    "two networks": ("throughput", ["--arch=lenet", "--model=net.keras"], ["--model and --arch"]),
    "no model": ("throughput", ["--model={folder}/none.keras", "--dataset=synthetic"], ["none.keras", "no such file"]),
    "no saved model": ("throughput", ["--model={folder}/text.keras", "--dataset=synthetic"], ["can't be loaded"]),
    "neither file nor function": ("throughput", ["--model=net.h5"], ["FILE.keras or package.module:function"]),
    "no module": ("throughput", ["--model=nowhere.nets:net", "--dataset=synthetic"], ["nowhere.nets:net", "nowhere"]),
    "no function": (
        "throughput",
        ["--model=keras.applications:NoNet", "--dataset=synthetic"],
        ["keras.applications:NoNet", "NoNet"],
    ),
    "no model returned": ("throughput", ["--model=os:getcwd", "--dataset=synthetic"], ["functional Keras model"]),
    "a shape for images": ("train", [*LENET, "--input_shape=8,8,1"], ["--input_shape is for --dataset=synthetic"]),
    "classes for images": ("train", [*LENET, "--classes=3"], ["--classes is for --dataset=synthetic"]),
    "no shape": (
        "throughput",
        ["--arch=lenet", "--dataset=synthetic", "--input_shape=8,8,a"],
        ["--input_shape must be positive integers, as 64,64,3"],
    ),
    "augmented fit": ("throughput", [*LENET, "--input=fit", "--augment"], ["--input=fit does not augment"]),
    "augmented numbers": (
        "throughput",
        ["--arch=lenet_tiny", "--dataset=synthetic", "--augment"],
        ["--dataset=synthetic does not augment"],
    ),
    "a batch of too many": ("throughput", [*LENET, "--batch_size=1" + 30 * "0"], ["--batch_size", "below 2³¹"]),
    "what the data decides": ("train", [*LENET, "--override=input_shape=(9,9,1)"], ["--override=input_shape", "data"]),
    "data and synthetic": ("throughput", [*LENET, "--dataset=synthetic"], ["--dataset=synthetic takes no --data"]),
    "nothing to learn": ("train", ["--arch=lenet_tiny", "--dataset=synthetic"], ["synthetic", "benchmarks.throughput"]),
    "diverged": (
        "train",
        [*LENET, "--optimizer=sgd", "--learning_rate=3e38", "--epochs=3"],
        ["the loss became", "--learning_rate", "nothing was written"],
    ),
    "diverged in throughput": (
        "throughput",
        [*LENET, "--optimizer=sgd", "--learning_rate=3e38", "--steps=30"],
        ["the loss became", "nothing was written"],
    ),
}  # fmt: skip

if BACKEND == "torch":
    del WRONG["a file for the trace"]
else:
    WRONG["a peer of another backend"] = (
        "throughput",
        ["--arch=lenet", "--dataset=synthetic", "--peer=torch"],
        ["--peer=torch", "KERAS_BACKEND=torch", f"got {BACKEND}"],
    )
    WRONG["timm on another backend"] = (
        "throughput",
        ["--arch=lenet_tiny", "--dataset=synthetic", "--peer=timm:resnet18"],
        ["--peer=timm:resnet18", "KERAS_BACKEND=torch", f"got {BACKEND}"],
    )

SHORT = (*LENET, "--epochs=2", "--batch_size=32")
RUNS = {
    "train": ("train", [*SHORT, "--out={folder}/train.jsonl", "--save={folder}/net.keras"]),
    "train again": ("train", [*SHORT, "--out={folder}/again.jsonl"]),
    "train otherwise": ("train", [*SHORT, "--out={folder}/again.jsonl", "--seed=1"]),
    "fit": ("train", [*SHORT, "--input=fit", "--out={folder}/fit.jsonl"]),
    "streamed": ("train", [*SHORT, "--input=stream", "--augment", "--out={folder}/streamed.jsonl"]),
    "pairs": (
        "train",
        ["--arch=siamese_tiny", "--data=npz:{folder}/digits.npz", "--epochs=1", "--out={folder}/pairs.jsonl"],
    ),
    "throughput": ("throughput", [*LENET, "--steps=57", "--batch_size=16", "--out={folder}/throughput.jsonl"]),
    "throughput without warm-up": (
        "throughput",
        [*LENET, "--steps=7", "--batch_size=16", "--warmup_steps=1", "--input=fit", "--out={folder}/throughput.jsonl"],
    ),
    "inference": (
        "throughput",
        [
            *("--arch=mlp_784_64_10", "--data=npz:{folder}/digits.npz", "--batch_size=50", "--steps=30"),
            *("--nopeak", "--mode=inference", "--input=stream", "--out={folder}/inference.jsonl"),
        ],
    ),
    "traced": (
        "throughput",
        [*LENET, "--nopeak", "--steps=7", "--jit=off", "--trace={folder}/trace", "--out={folder}/traced.jsonl"],
    ),
    "synthetic": (
        "throughput",
        [
            *("--arch=shared_dense_tiny", "--dataset=synthetic", "--batch_size=8", "--steps=20"),
            "--nopeak",
            "--out={folder}/synthetic.jsonl",
        ],
    ),
    "my function": (
        "throughput",
        [
            *("--model=tests.benchmarks.test_scripts:small_net", "--dataset=synthetic", "--batch_size=8", "--steps=5"),
            *("--nopeak", "--input_shape=6,5,2", "--classes=7", "--out={folder}/function.jsonl"),
        ],
    ),
    "my function on images": (
        "train",
        [
            *("--model=tests.benchmarks.test_scripts:small_net", "--data=npz:{folder}/digits.npz", "--batch_size=50"),
            "--out={folder}/mine.jsonl",
        ],
    ),
    "my file": (
        "throughput",
        [
            *("--model={folder}/mine.keras", "--data=npz:{folder}/digits.npz", "--batch_size=50", "--steps=5"),
            "--nopeak",
            "--out={folder}/file.jsonl",
        ],
    ),
    "another size": (
        "throughput",
        [
            *("--arch=lenet_tiny", "--dataset=synthetic", "--batch_size=4", "--steps=3", "--input_shape=20,24,2"),
            *("--nopeak", "--classes=3", "--out={folder}/size.jsonl"),
        ],
    ),
    "overridden": (
        "throughput",
        [
            *("--arch=googlenet_tiny", "--dataset=synthetic", "--batch_size=4", "--steps=3"),
            *(
                "--nopeak",
                "--override=auxiliary=True",
                "--override=style=style.RELU_BN",
                "--out={folder}/overridden.jsonl",
            ),
        ],
    ),
}


if BACKEND == "torch":
    del RUNS["traced"]


@pytest.fixture(scope="module")
def answers(folder):
    """What every run of `WRONG` and `RUNS` returned, printed and complained of."""

    def filled(arguments, *more):
        return [argument.replace("{folder}", str(folder)) for argument in (*arguments, *more)]

    jobs = {name: (script, filled(arguments)) for name, (script, arguments) in RUNS.items()}
    for name, (script, arguments, _) in WRONG.items():
        given = {argument.partition("=")[0] for argument in arguments}
        more = [] if "--out" in given else ["--out={folder}/wrong.jsonl"]
        if script == "train" and "--save" not in given:
            more.append("--save={folder}/wrong.keras")
        jobs[name] = (script, filled(arguments, *more))
    # Nothing is fetched.
    code = "from benchmarks.data import network\nnetwork.unreachable = lambda url: 'no network'\n" + MANY
    done = python("-c", code, given=json.dumps(jobs))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def record(path):
    """The only record of a file."""
    (line,) = Path(path).read_text().splitlines()
    return json.loads(line)


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_one_line_and_nothing_is_written(answers, folder, name):
    code, out, err = answers[name]
    assert code == 1
    assert err.startswith("error: ")
    assert err.endswith("\n")
    assert len(err.splitlines()) == 1
    assert "Traceback" not in out + err
    for part in WRONG[name][2]:
        assert part in err
    left = {path.name for path in folder.iterdir()}
    assert not [
        other for other in left if "wrong" in other or "nowhere" in other or other.endswith((".h5", ".partial"))
    ]


@pytest.mark.parametrize("name", RUNS)
def test_a_run_says_what_it_did_and_complains_of_nothing(answers, name):
    code, out, err = answers[name]
    assert (code, err) == (0, "")
    (bar,) = re.findall(r"^(?:training|timing) .*━.*$", out, re.MULTILINE)
    done, total = re.search(r"(\d+)/(\d+)", bar).groups()
    assert done == total
    assert re.search(r"loss \d+\.\d{4}", bar)
    assert "images/s" in bar
    for part in ("parameters", "multiply-adds per image", "compilation", f"{BACKEND} on "):
        assert part in out
    assert "error" not in out.lower()


COMMON = {
    "version", "script", "arch", "overrides", "dataset", "data", "examples", "input", "mode", "peer", "batch_size",
    "augment", "backend", "dtype_policy", "jit", "optimizer", "optimizer_arguments", "learning_rate", "seed", "params",
    "trainable_params", "macs", "environment", "images_per_second", "compile_seconds", "final_loss", "steps",
}  # fmt: skip
TRAIN = {"epochs", "train_seconds", "total_seconds", "test_accuracy"}
THROUGHPUT = {"warmup_steps", "step_ms_p5", "step_ms_p50", "step_ms_p95", "block_steps", "block_seconds"}


def test_a_training_is_recorded(answers, folder):
    made = record(folder / "train.jsonl")
    assert set(made) >= COMMON | TRAIN
    expected = {
        "version": 3, "script": "train", "arch": "lenet_tiny", "overrides": [], "dataset": "digits.npz",
        "data": f"npz:{folder}/digits.npz", "examples": 2000, "input": "resident", "mode": "training", "peer": None,
        "batch_size": 32, "augment": False, "backend": BACKEND, "dtype_policy": "float32", "optimizer": "adam",
        "optimizer_arguments": {}, "learning_rate": 2e-3, "seed": 0, "params": 3146, "trainable_params": 3146,
        "macs": 111_008, "epochs": 2, "steps": 2 * (2000 // 32),
    }  # fmt: skip
    assert {key: made[key] for key in expected} == expected
    assert 0.2 < made["test_accuracy"] <= 1
    assert 0 < made["final_loss"] < math.log(10)
    assert made["images_per_second"] == pytest.approx(made["steps"] * 32 / made["train_seconds"])
    assert made["train_seconds"] + made["compile_seconds"] < made["total_seconds"]
    out = answers["train"][1]
    assert "lenet_tiny on digits.npz: 3,146 trainable parameters, 2,000 training examples, batches of 32" in out
    assert f"{100 * made['test_accuracy']:.2f} %" in out
    assert f"{made['images_per_second']:,.0f} images/s" in out
    assert f"saved {folder}/net.keras" in out


def test_the_saved_network_has_the_recorded_accuracy(answers, folder):
    assert answers["train"][0] == 0
    model = keras.models.load_model(folder / "net.keras")
    with np.load(folder / "digits.npz") as digits:
        logits = model.predict(digits["x_test"][..., None], verbose=0)
        accuracy = np.mean(logits.argmax(1) == digits["y_test"])
    assert accuracy == pytest.approx(record(folder / "train.jsonl")["test_accuracy"], abs=0.0021)
    assert not list(folder.glob(".*"))


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch adds up gradients in any order")
def test_a_seed_fixes_the_result(answers, folder):
    assert answers["train again"][0] == answers["train otherwise"][0] == 0
    first = record(folder / "train.jsonl")
    same, other = (json.loads(line) for line in (folder / "again.jsonl").read_text().splitlines())
    # Steps that run together are summed on the device, those that don't here.
    assert same["final_loss"] == pytest.approx(first["final_loss"], rel=1e-6)
    assert same["test_accuracy"] == first["test_accuracy"]
    assert other["final_loss"] != pytest.approx(first["final_loss"], rel=1e-6)
    assert other["seed"] == 1


def test_fit_is_recorded_as_such(answers, folder):
    assert answers["fit"][0] == 0
    made = record(folder / "fit.jsonl")
    assert set(made) >= COMMON | TRAIN
    assert (made["input"], made["steps"]) == ("fit", 124)
    assert 0.2 < made["test_accuracy"] <= 1


def test_streamed_data_is_recorded_as_such(answers, folder):
    assert answers["streamed"][0] == 0
    made = record(folder / "streamed.jsonl")
    assert set(made) >= COMMON | TRAIN
    assert (made["input"], made["augment"], made["steps"]) == ("stream", True, 124)
    assert 0.12 < made["test_accuracy"] <= 1


def test_inference_is_recorded_with_the_cost_of_a_forward_pass(answers, folder):
    assert answers["inference"][0] == 0
    made = record(folder / "inference.jsonl")
    assert set(made) >= COMMON | THROUGHPUT
    assert (made["mode"], made["input"], made["peer"], made["examples"]) == ("inference", "stream", None, 2000)
    assert made["optimizer"] is made["optimizer_arguments"] is made["learning_rate"] is None
    # 784 · 64 + 64 · 10 multiply-adds an image, each of them two operations.
    assert made["macs"] == 50_816
    assert made["flops_per_step"] == 2 * 50_816 * 50
    assert made["flops_per_second"] == pytest.approx(
        made["flops_per_step"] * made["steps"] / sum(made["block_seconds"])
    )
    # Nothing is learned: the loss is that of random weights, about log 10.
    assert 1.5 < made["final_loss"] < 4
    assert "mlp_784_64_10 on digits.npz, inference in batches of 50, stream data" in answers["inference"][1]


@pytest.mark.skipif(BACKEND == "torch", reason="there is no profiler")
def test_a_profile_is_written_and_its_operations_recorded(answers, folder):
    assert answers["traced"][0] == 0
    assert list(folder.glob("trace/plugins/profile/*/*.xplane.pb"))
    longest = record(folder / "traced.jsonl")["operation_ms"]
    if BACKEND == "tensorflow":
        assert any("Conv2D" in kind for kind in longest)
        for kind, milliseconds in longest.items():
            assert re.search(rf"{kind} .* {milliseconds:.2f} ms", answers["traced"][1])
    for name in ("throughput", "inference"):
        assert json.loads((folder / f"{name}.jsonl").read_text().splitlines()[0])["operation_ms"] is None


FAILING = """
import os, sys, types
from benchmarks import throughput, train
from benchmarks.records import files
from benchmarks.terminal.launch import launch

def fail(*arguments):
    raise OSError(28, "No space left on device")

_, script, failing, *arguments = sys.argv
if "trace" in failing:
    from benchmarks.measure import trace
    trace.write = fail
if failing.endswith("network"):
    import keras
    keras.Model.save = lambda model, path: (open(path, "w").close(), fail())
if "record" in failing:
    files.os = types.SimpleNamespace(**{**vars(os), "write": fail})
sys.argv = [script, *arguments]
launch({"train": train, "throughput": throughput}[script].main)
"""


@pytest.mark.parametrize(
    ("script", "failing", "flags", "message"),
    [
        pytest.param(
            *("throughput", "trace", ["--steps=3", "--nopeak", "--trace={tmp}/trace"]),
            "--trace={tmp}/trace can't be written",
            marks=pytest.mark.skipif(BACKEND == "torch", reason="there is no profiler"),
        ),
        (
            *("train", "network", ["--save={tmp}/net.keras"]),
            "--save={tmp}/net.keras can't be written: No space left on device",
        ),
    ],
)
def test_what_fails_after_the_run_loses_no_figures(folder, tmp_path, script, failing, flags, message):
    given = [flag.format(folder=folder, tmp=tmp_path) for flag in (*LENET, *flags)]
    done = python("-c", FAILING, script, failing, *given, f"--out={tmp_path}/runs.jsonl")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {message.format(tmp=tmp_path)}")
    assert record(tmp_path / "runs.jsonl")["images_per_second"] > 0
    assert not [path.name for path in tmp_path.iterdir() if "partial" in path.name]


def test_a_failed_record_loses_neither_network_nor_figures(folder, tmp_path):
    out = tmp_path / "runs.jsonl"
    given = [flag.format(folder=folder) for flag in (*LENET, f"--out={out}")]
    # A name as long as a file system takes it leaves no room for a longer one beside it.
    name = f"{tmp_path}/{'n' * 240}.keras"
    done = python("-c", FAILING, "train", "record", *given, f"--save={name}")
    assert (done.returncode, done.stderr) == (1, f"error: --out={out} can't be written: No space left on device\n")
    assert Path(name).is_file()
    assert (out.read_text() if out.exists() else "") == ""
    assert "test accuracy" in done.stdout
    done = python("-c", FAILING, "train", "record and network", *given, f"--save={tmp_path}/net.keras")
    assert done.returncode == 1
    for path in (f"--out={out}", f"--save={tmp_path}/net.keras"):
        assert f"{path} can't be written: No space left on device" in done.stderr.splitlines()[-1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("script", ["train", "throughput"])
def test_a_full_disk_is_noticed_before_the_run(folder, script):
    done = python("-m", f"benchmarks.{script}", *(flag.format(folder=folder) for flag in LENET), "--out=/dev/full")
    error = "error: --out=/dev/full can't be written: No space left on device\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", error)


@pytest.mark.parametrize(
    ("script", "flags"), [("train", ["--save={tmp}/net.keras"]), ("throughput", ["--steps=3", "--nopeak"])]
)
def test_whoever_stops_reading_loses_nothing(folder, tmp_path, script, flags):
    given = [flag.format(folder=folder, tmp=tmp_path) for flag in (*LENET, *flags, "--out={tmp}/runs.jsonl")]
    run = process.start("-m", f"benchmarks.{script}", *given, TF_CPP_MIN_LOG_LEVEL=None)
    run.stdout.close()
    assert (run.stderr.read(), run.wait()) == ("", 0)
    assert record(tmp_path / "runs.jsonl")["images_per_second"] > 0
    assert (tmp_path / "net.keras").exists() == (script == "train")


def test_help_may_be_left_unread():
    run = process.start("-m", "benchmarks.train", "--help", TF_CPP_MIN_LOG_LEVEL=None)
    run.stdout.close()
    assert (run.stderr.read(), run.wait()) == ("", 0)


@pytest.mark.parametrize("backend", ["foo", "tensorflow"])
def test_a_missing_backend_is_named(backend):
    hide = "import runpy, sys; sys.modules['tensorflow'] = None; sys.argv = ['train.py']; "
    done = python("-c", hide + "runpy.run_module('benchmarks.train', run_name='__main__')", KERAS_BACKEND=backend)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: Keras can't be imported with the backend {backend} (")
    assert line.endswith("KERAS_BACKEND selects another")


@pytest.mark.parametrize("script", ["train", "throughput", "versus", "compare", "report", "build"])
def test_flags_are_checked_before_keras_is_imported(script):
    """Keras takes seconds to import: `--help` and a wrong flag need none of them."""
    code = f"""
import sys
from benchmarks import {script}
from benchmarks.terminal.launch import launch
sys.argv = ["{script}.py", "--nonsense=1"]
try:
    launch({script}.main)
finally:
    print(sorted({{"keras", "tensorflow", "jax", "torch", "matplotlib"}} & set(sys.modules)))
"""
    done = python("-c", code)
    assert (done.returncode, done.stdout) == (1, "[]\n")
    assert "nonsense" in done.stderr


def test_a_network_of_ones_own_is_recorded(answers, folder):
    assert {answers[name][0] for name in ("my function", "my function on images", "my file")} == {0}
    made = record(folder / "function.jsonl")
    assert made["arch"] == "tests.benchmarks.test_scripts:small_net"
    assert (made["input_shapes"], made["params"]) == ([[6, 5, 2]], (6 * 5 * 2 + 1) * 7)
    assert made["model_hash"] == hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    mine = record(folder / "mine.jsonl")
    # The data decides shape and classes.
    assert (mine["input_shapes"], mine["params"]) == ([[28, 28, 1]], (28 * 28 + 1) * 10)
    assert mine["test_accuracy"] > 0.2
    saved = record(folder / "file.jsonl")
    assert saved["arch"] == f"{folder}/mine.keras"
    assert saved["model_hash"] == hashlib.sha256((folder / "mine.keras").read_bytes()).hexdigest()
    assert saved["macs"] == 28 * 28 * 10


def test_a_network_is_timed_at_any_size(answers, folder):
    assert answers["another size"][0] == 0
    made = record(folder / "size.jsonl")
    assert made["input_shapes"] == [[20, 24, 2]]
    assert made["arch"] == "lenet_tiny"
    assert made["model_hash"] is None


@pytest.mark.parametrize(("sizes", "mode"), [((2001, 16), "inference"), slow((16,), "both"), slow((2001, 16), "both")])
def test_several_batch_sizes_and_modes_are_a_record_each(sizes, mode, folder, tmp_path):
    out = tmp_path / "runs.jsonl"
    given = [flag.format(folder=folder) for flag in LENET]
    flags = (f"--batch_size={','.join(map(str, sizes))}", f"--mode={mode}", "--steps=2", "--warmup_steps=1", "--nopeak")
    done = python("-m", "benchmarks.throughput", *given, *flags, f"--out={out}")
    found = [json.loads(line) for line in out.read_text().splitlines()]
    modes = ["training", "inference"] if mode == "both" else [mode]
    runs = [(size, each) for size in sizes for each in modes]
    assert [(made["batch_size"], made["mode"]) for made in found] == [run for run in runs if run[0] == 16]
    # There are 2,000 images. A run that fails does not keep the others from being done.
    failed = [f"--mode={each} --batch_size={size}" for size, each in runs if size == 2001]
    message = f"error: {len(failed)} of {len(runs)} runs failed: {'; '.join(failed)}" if failed else ""
    assert (done.returncode, done.stderr.splitlines()[-1] if failed else "") == (min(len(failed), 1), message)


def test_pairs_are_scored_as_pairs(answers, folder):
    assert answers["pairs"][0] == 0
    made = record(folder / "pairs.jsonl")
    assert "test_accuracy" not in made
    assert 0.4 < made["test_pair_accuracy"] <= 1
    assert "test pair accuracy" in answers["pairs"][1]


def documented(*sections):
    """The fields that docs/records.md lists under some of its headings."""
    text = (ROOT / "docs" / "records.md").read_text()
    parts = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    rows = [row for section in sections for row in re.findall(r"^\| (`.*?) \|", parts[section], re.MULTILINE)]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_a_record_has_exactly_the_documented_fields(answers, folder):
    trained = record(folder / "train.jsonl")
    timed = json.loads((folder / "throughput.jsonl").read_text().splitlines()[0])
    shared = "Every record"
    assert set(timed) == documented(shared, "Throughput (`benchmarks.throughput`)")
    assert set(trained) == documented(shared, "Training (`benchmarks.train`)") - {"test_pair_accuracy"}
    text = (ROOT / "docs" / "records.md").read_text().split("## `environment`")[1]
    assert set(trained["environment"]) == set(re.findall(r"`(\w+)`", text)) - {"CPU", "parent_command"}


def test_throughput_is_all_images_over_all_seconds(answers, folder):
    assert answers["throughput"][0] == answers["throughput without warm-up"][0] == 0
    resident, fit = (json.loads(line) for line in (folder / "throughput.jsonl").read_text().splitlines())
    for made, least, kind in ((resident, 57, "resident"), (fit, 7, "fit")):
        steps = made["steps"]
        assert steps >= least
        assert set(made) >= COMMON | THROUGHPUT
        assert not set(made) & {"test_accuracy", "epochs"}
        assert (made["script"], made["steps"], made["batch_size"], made["input"]) == ("throughput", steps, 16, kind)
        assert len(made["block_steps"]) == (20 if kind == "resident" else 5)
        assert sum(made["block_steps"]) == steps
        assert len(made["block_steps"]) == len(made["block_seconds"]) > 1
        assert made["images_per_second"] == pytest.approx(16 * steps / sum(made["block_seconds"]))
        each = [1000 * s / n for n, s in zip(made["block_steps"], made["block_seconds"], strict=True)]
        assert (
            min(each) * 0.999 <= made["step_ms_p5"] <= made["step_ms_p50"] <= made["step_ms_p95"] <= max(each) * 1.001
        )
        assert made["images_per_second_low"] <= made["images_per_second"] <= made["images_per_second_high"]
        # Of 28 · 28 · 4 · 5² multiply-adds in the first convolution no gradient of the images is computed.
        first = 24 * 24 * 4 * 25
        assert made["flops_per_step"] == 2 * 16 * (3 * made["macs"] - first)
        assert made["flops_per_second"] == pytest.approx(made["flops_per_step"] * steps / sum(made["block_seconds"]))
        assert made["peak_share"] == pytest.approx(made["flops_per_second"] / made["peak_flops_per_second"])
    assert resident["warmup_steps"] >= 5
    assert fit["warmup_steps"] == 1
    assert f"{resident['images_per_second']:,.0f} images/s" in answers["throughput"][1]


def test_synthetic_data_is_called_so(answers, folder):
    assert answers["synthetic"][0] == 0
    made = record(folder / "synthetic.jsonl")
    assert (made["dataset"], made["data"], made["params"]) == ("synthetic", "synthetic", 14)


def test_overrides_are_recorded_and_take_effect(answers, folder):
    assert answers["overridden"][0] == 0
    made = record(folder / "overridden.jsonl")
    assert made["overrides"] == ["auxiliary=True", "style=style.RELU_BN"]
    # More than the row's own 1,670: two heads more; and statistics that are not trained.
    assert made["params"] > made["trainable_params"] > 1670


@pytest.mark.parametrize("script", ["train", "throughput"])
def test_help_is_for_reading(script):
    done = python("-m", f"benchmarks.{script}", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"python -m benchmarks.{script}" in done.stdout
    listed = set(re.findall(r"^  --(?:\[no\])?(\w+):", done.stdout, re.MULTILINE))
    shared = {
        "arch", "model", "override", "dataset", "input_shape", "classes", "data", "data_dir", "input", "batch_size",
        "optimizer", "optimizer_argument",
        "learning_rate", "augment", "dtype_policy", "jit", "seed", "out",
    }  # fmt: skip
    timing = {"steps", "warmup_steps", "mode", "peer", "trace"}
    assert listed >= shared | ({"epochs", "save"} if script == "train" else timing)
    assert not listed & (timing if script == "train" else {"epochs", "save"})
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_a_script_runs_from_the_command_line(folder, tmp_path):
    arguments = [argument.replace("{folder}", str(folder)) for argument in LENET]
    done = python("-m", "benchmarks.train", *arguments, f"--out={tmp_path}/runs.jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    assert record(tmp_path / "runs.jsonl")["environment"]["command"] == [
        "train.py", *arguments, f"--out={tmp_path}/runs.jsonl"
    ]  # fmt: skip
    wrong = python("-m", "benchmarks.throughput", "--epochs=2")
    assert wrong.returncode == 1
    assert re.fullmatch(r"error: .*epochs.*\n", wrong.stderr)
    assert wrong.stdout == ""


HIDE = """
import importlib.abc, importlib.util, runpy, sys

class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {module!r}:
            raise ModuleNotFoundError(name, name=name)

find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == {module!r} else find_spec(name, package)
sys.meta_path.insert(0, Hidden())
sys.argv = ["train.py"]
runpy.run_module("benchmarks.train", run_name="__main__")
"""


@pytest.mark.parametrize("module", ["absl", "rich", "keras"])
def test_a_missing_extra_is_told_with_the_install_line(module):
    done = python("-c", HIDE.format(module=module))
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert f"need the package {module}: pip install -e '.[bench]'" in line


INTERRUPTED = """
import runpy, signal, sys

class Interrupting:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupting)
sys.argv = ["train.py"]
runpy.run_module("benchmarks.train", run_name="__main__")
"""


@pytest.mark.parametrize("module", ["keras.src", "architectures"])
def test_whoever_interrupts_the_imports_sees_no_traceback(module):
    done = python("-c", INTERRUPTED.format(module=module))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
@pytest.mark.parametrize("kind", ["resident", slow("fit")])
def test_jax_needs_no_tensorflow(folder, tmp_path, kind):
    hidden = HIDE.replace("runpy.run_module", "sys.argv += {arguments!r}\nrunpy.run_module").format(
        module="tensorflow",
        arguments=[
            "--arch=mlp_tiny",
            f"--data=npz:{folder}/digits.npz",
            f"--input={kind}",
            f"--out={tmp_path}/r.jsonl",
        ],
    )
    done = python("-c", hidden, KERAS_BACKEND="jax")
    assert (done.returncode, done.stderr) == (0, "")
    assert record(tmp_path / "r.jsonl")["backend"] == "jax"


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
def test_without_tensorflow_streaming_says_what_to_install(folder):
    hidden = HIDE.replace("runpy.run_module", "sys.argv += {arguments!r}\nrunpy.run_module").format(
        module="tensorflow", arguments=["--arch=mlp_tiny", f"--data=npz:{folder}/digits.npz", "--input=stream"]
    )
    done = python("-c", hidden, KERAS_BACKEND="jax")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"error: --input=stream .* needs TensorFlow: pip install tensorflow\n", done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["resident", "stream"])
def test_kerass_own_network_runs_in_place_of_ours(folder, tmp_path, kind):
    rng = np.random.default_rng(0)
    images = {f"x_{split}": rng.integers(0, 256, (30, 64, 64, 3), dtype=np.uint8) for split in ("train", "test")}
    np.savez(tmp_path / "noise.npz", **images, **{f"y_{split}": np.arange(30) % 10 for split in ("train", "test")})
    done = python(
        *("-m", "benchmarks.throughput", "--arch=resnet50", f"--data=npz:{tmp_path}/noise.npz", "--batch_size=4"),
        *("--peer=keras_applications:ResNet50", f"--input={kind}", "--steps=3", "--warmup_steps=1", "--nopeak"),
        f"--out={tmp_path}/runs.jsonl",
        timeout=600,
    )
    assert (done.returncode, done.stderr) == (0, "")
    made = record(tmp_path / "runs.jsonl")
    assert (made["arch"], made["peer"]) == ("resnet50", "keras_applications:ResNet50")
    # Those of `keras.applications`: 26,560 biases more than ours.
    assert made["trainable_params"] == keras.applications.ResNet50(weights=None, classes=10).count_params() - 53_120
    assert "keras_applications:ResNet50 for resnet50 on noise.npz" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")
@pytest.mark.parametrize("mode", ["training", "inference"])
def test_a_peer_in_pytorch_runs_in_place_of_ours(folder, tmp_path, mode):
    done = python(
        *("-m", "benchmarks.throughput", "--arch=lenet", f"--data=npz:{folder}/digits.npz", "--batch_size=50"),
        *("--peer=torch", f"--mode={mode}", "--steps=10", "--nopeak", f"--out={tmp_path}/runs.jsonl"),
        KERAS_BACKEND="torch",
    )
    assert (done.returncode, done.stderr) == (0, "")
    made = record(tmp_path / "runs.jsonl")
    assert (made["peer"], made["mode"], made["backend"], made["trainable_params"]) == ("torch", mode, "torch", 582_026)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "metric", "least"),
    [
        (("--arch=lenet", "--dataset=mnist"), "test_accuracy", 0.985),
        (("--arch=siamese_lenet", "--dataset=mnist"), "test_pair_accuracy", 0.95),
        (("--arch=resnet20", "--dataset=cifar10", "--epochs=2"), "test_accuracy", 0.55),
    ],
    ids=["lenet", "siamese_lenet", "resnet20"],
)
def test_networks_learn_the_real_images(real, tmp_path, arguments, metric, least):
    real("mnist" if "--dataset=mnist" in arguments else "cifar10")
    done = python(
        *("-m", "benchmarks.train", *arguments, f"--out={tmp_path}/runs.jsonl"),
        timeout=3600,
        TFDS_DATA_DIR=os.environ["TFDS_DATA_DIR"],
    )
    assert (done.returncode, done.stderr) == (0, "")
    made = record(tmp_path / "runs.jsonl")
    assert made[metric] >= least
    assert (made["dataset"], made["data"]) == (arguments[1].partition("=")[2], "tfds")
