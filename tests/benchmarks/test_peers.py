"""Peers: networks of others stand in only where they are as large as ours, and their steps are what they should be."""

import importlib
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers, ops

import architectures
from benchmarks import engines
from benchmarks.peers import keras_applications as peers
from benchmarks.tasks import Classification, Pairs, Synthetic
from benchmarks.terminal.errors import UsageError

BACKEND = keras.backend.backend()
of_torch = pytest.mark.skipif(BACKEND != "torch", reason="the peer runs in PyTorch")


def test_kerass_network_of_the_same_size_replaces_ours():
    ours = architectures.create("resnet50", input_shape=(64, 64, 3), classes=7)
    peer = peers.application("ResNet50", ours)
    assert peer.input_shape == (None, 64, 64, 3)
    assert peer.output_shape == (None, 7)
    assert peer.layers[-1].activation is keras.activations.linear
    # The biases of its 53 convolutions, as many as they have filters, are what it has more.
    biases = [layer.bias.shape[0] for layer in peer.layers if "Conv" in type(layer).__name__]
    assert len(biases) == 53
    ours, theirs = (sum(np.prod(w.shape) for w in model.trainable_weights) for model in (ours, peer))
    assert theirs - ours == sum(biases) == 26_560


def test_an_unknown_network_is_told_with_the_closest():
    ours = architectures.create("mlp_tiny")
    with pytest.raises(UsageError, match=r"has no Resnet50; did you mean ResNet50[?]"):
        peers.application("Resnet50", ours)
    for name in ("", "zzz", "resnet", "keras"):
        with pytest.raises(UsageError, match=f"--peer=keras_applications:{name}: keras.applications has no {name}$"):
            peers.application(name, ours)


def test_a_network_of_another_size_is_told_with_both_sizes():
    ours = architectures.create("resnet18", input_shape=(64, 64, 3), classes=7)
    # He et al. 2015: 11.7 million with 1000 classes, of which 1000 · 513 are the head; the other has 25.6 million and
    # 1000 · 2049, and no biases where ours has none.
    told = (
        r"--peer=keras_applications:ResNet50 has 23,522,375 trainable parameters and resnet18 11,180,103 .*: "
        "no comparison"
    )
    with pytest.raises(UsageError, match=told):
        peers.application("ResNet50", ours)


@pytest.mark.parametrize(
    ("arch", "told"), [("lenet_tiny", "at least 32x32.*28, 28, 1"), ("siamese_tiny", "input_shape"), ("mlp_tiny", "")]
)
def test_what_keras_refuses_is_told_in_one_line(arch, told):
    with pytest.raises(UsageError, match=rf"^--peer=keras_applications:ResNet50: .*{told}") as caught:
        peers.application("ResNet50", architectures.create(arch))
    assert "\n" not in str(caught.value)


def graph(ending):
    """`(outputs, count)` of an ending behind a convolution of 3·3·3·4 weights and 4 biases, as a model."""
    x = keras.Input((8, 8, 3))
    conv = layers.Conv2D(4, 3, padding="same", name="conv")
    outputs, count = ending(x, conv)
    return keras.Model(x, outputs), count


def norm(x):
    """A normalisation of 4 + 4 trainable parameters."""
    return layers.BatchNormalization()(x)


KERNEL, BIAS, NORM = 108, 4, 8
ENDINGS = {
    "a normalisation": lambda x, conv: (norm(conv(x)), KERNEL + NORM),
    "two normalisations": lambda x, conv: ([norm(y := conv(x)), norm(y)], KERNEL + 2 * NORM),
    "a normalisation and a sum": lambda x, conv: (layers.Add()([y := conv(x), norm(y)]), KERNEL + BIAS + NORM),
    "a normalisation and out": lambda x, conv: ([y := conv(x), norm(y)], KERNEL + BIAS + NORM),
    "out": lambda x, conv: (conv(x), KERNEL + BIAS),
    "an activation": lambda x, conv: (norm(layers.Activation("relu")(conv(x))), KERNEL + BIAS + NORM),
    "a layer normalisation": lambda x, conv: (layers.LayerNormalization()(conv(x)), KERNEL + BIAS + NORM),
    "shared by normalised branches": lambda x, conv: ([norm(conv(x)), norm(conv(2 * x))], KERNEL + 2 * NORM),
    "shared by a plain branch": lambda x, conv: ([norm(conv(x)), layers.ReLU()(conv(2 * x))], KERNEL + BIAS + NORM),
    "activated inside": lambda x, conv: (norm(layers.Conv2D(4, 3, activation="relu")(x)), KERNEL + BIAS + NORM),
    "without a bias": lambda x, conv: (norm(layers.Conv2D(4, 3, use_bias=False)(x)), KERNEL + NORM),
    "depthwise": lambda x, conv: (norm(layers.DepthwiseConv2D(3)(x)), 27 + 6),
    "dense": lambda x, conv: (norm(layers.Dense(4)(layers.Flatten()(x))), 8 * 8 * 3 * 4 + NORM),
    "by keyword": lambda x, conv: (layers.BatchNormalization()(inputs=conv(x)), KERNEL + NORM),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_biases_that_a_normalisation_takes_away_do_not_count(name):
    model, count = graph(ENDINGS[name])
    assert peers.effective_params(model) == count


def test_such_biases_have_no_effect_and_others_do():
    # Which ones count is what a change of the bias changes in training.
    x = np.random.default_rng(0).normal(size=(5, 8, 8, 3)).astype("float32")
    for name in ("a normalisation", "two normalisations", "a normalisation and a sum", "an activation", "out"):
        model, _ = graph(ENDINGS[name])
        counts = peers.effective_params(model) == sum(np.prod(w.shape) for w in model.trainable_weights)
        before, after = [], []
        for outputs, bias in ((before, 0.0), (after, 0.7)):
            model.get_layer("conv").bias.assign([bias] * 4)
            made = model(x, training=True)
            outputs.extend(ops.convert_to_numpy(y) for y in (made if isinstance(made, list) else [made]))
        same = all(np.allclose(a, b, atol=1e-4) for a, b in zip(before, after, strict=True))
        assert same != counts, name


def plain_torch():
    """The module, which imports PyTorch."""
    return importlib.import_module("benchmarks.peers.plain_torch")


def peer_of(arch, work, *, network="torch", optimizer=None, model=None, **plan):
    """The engine of a peer, which runs in place of the model."""
    model = model or architectures.create(arch)
    optimizer = optimizer or keras.optimizers.SGD(0.05)
    return plain_torch().PlainTorchEngine(model, optimizer, work, engines.Plan(**plan), network=network)


def state(engine):
    """The peer's weights and statistics as NumPy arrays."""
    return {name: value.detach().numpy().copy() for name, value in engine._network.state_dict().items()}


@of_torch
@pytest.mark.parametrize("arch", ["mlp_784_64_10", "lenet"])
def test_a_peer_learns(small, arch):
    model, optimizer = architectures.create(arch, input_shape=(28, 28, 1)), keras.optimizers.Adam(2e-3)
    engine = peer_of(None, Classification(small(24), augment=False), model=model, batch_size=8, optimizer=optimizer)
    assert engine.block == 3
    assert engine.warm_up() > 0
    first = engine.run(3)
    # Random labels are learned by heart.
    assert [engine.run(9) for _ in range(3)][-1] < first - 0.1


@of_torch
def test_a_peers_loss_is_that_of_ours_for_equal_weights(small):
    work = Classification(small(24), augment=False)
    model = architectures.create("mlp_784_64_10", input_shape=(28, 28, 1))
    peer = peer_of(None, work, model=model, batch_size=8, mode="inference")
    ours = engines.create(model, keras.optimizers.SGD(), work, engines.Plan(batch_size=8, mode="inference", jit="off"))
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.1, weight.shape) for weight in model.weights])
    torch = importlib.import_module("torch")
    kernels_and_biases = [torch.from_numpy(np.array(ops.convert_to_numpy(w)).T.copy()) for w in model.weights]
    peer._network.load_state_dict(dict(zip(peer._network.state_dict(), kernels_and_biases, strict=True)))
    assert peer.run(3) == pytest.approx(ours.run(3), rel=1e-5)


@of_torch
def test_a_peer_crops_and_mirrors_at_random(small):
    work = Classification(small(16, (32, 32, 3)), augment=True)
    engine = peer_of("resnet20", work, batch_size=8)
    framed = np.arange(40 * 40 * 3, dtype=np.float32).reshape(1, 40, 40, 3)
    images = importlib.import_module("torch").from_numpy(framed.repeat(400, 0))
    windows = engine._crop_and_flip(images).numpy()
    seen = set()
    for window in windows:
        # The colour of the upper left pixel tells where it stood; a mirrored window is read from the right.
        (top, left), is_mirrored = divmod(int(window[0, :, 0].min()) // 3, 40), window[0, 0, 0] > window[0, 1, 0]
        cut = framed[0, top : top + 32, left : left + 32]
        np.testing.assert_array_equal(window, cut[:, ::-1] if is_mirrored else cut)
        seen.add((top, left, bool(is_mirrored)))
    # Each of 9 offsets is missed with a probability below 10^-20.
    assert [{each[i] for each in seen} for i in range(3)] == [set(range(9)), set(range(9)), {False, True}]


@of_torch
@pytest.mark.parametrize("arch", ["mlp_784_64_10", "lenet", "resnet20"])
def test_a_peer_sees_all_of_an_image_that_is_no_square(small, arch):
    work = Classification(small(16, (32, 48, 3)), augment=arch == "resnet20")
    model = architectures.create(arch, input_shape=(32, 48, 3))
    engine = peer_of(None, work, model=model, batch_size=8)
    seen = []
    engine._network.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape)))
    engine.run(1)
    assert seen == [(8, 3, 32, 48)]


@of_torch
@pytest.mark.parametrize("mode", engines.MODES)
def test_only_in_training_a_peers_statistics_move(small, mode):
    # Cropped at random, the same images would not have the same loss.
    work = Classification(small(16, (32, 32, 3)), augment=mode == "training")
    engine = peer_of("resnet20", work, batch_size=8, mode=mode)
    before = state(engine)
    engine.warm_up()
    losses = [engine.run(2), engine.run(2)]
    after = state(engine)
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved == (set() if mode == "inference" else set(before))
    # An epoch of two batches, in any order.
    assert (losses[0] == pytest.approx(losses[1], rel=1e-5)) == (mode == "inference")


@pytest.fixture
def timm(monkeypatch):
    """A module in timm's place, which has LeNet under another name; notes what it is asked for."""
    asked = []

    def create_model(name, **options):
        asked.append((name, options))
        return plain_torch().lenet(options["in_chans"], (28, 28), options["num_classes"] + (name == "lenet_b"))

    names = ["resnet18", "lenet_a", "lenet_b"]
    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(list_models=lambda: names, create_model=create_model))
    return asked


@of_torch
def test_timms_network_runs_in_place_of_ours(small, timm):
    work = Classification(small(24), augment=False)
    engine = peer_of("lenet", work, network="timm:lenet_a", batch_size=8, optimizer=keras.optimizers.Adam(2e-3))
    engine.warm_up()
    first = engine.run(3)
    assert engine.run(30) < first
    assert timm == [("lenet_a", {"in_chans": 1, "num_classes": 10})]


@of_torch
def test_timms_network_of_another_size_is_told_with_both_sizes(small, timm):
    work = Classification(small(24), augment=False)
    # One class more has 512 weights and a bias more.
    told = "--peer=timm:lenet_b has 582,539 trainable parameters and lenet 582,026: no comparison"
    with pytest.raises(UsageError, match=told):
        peer_of("lenet", work, network="timm:lenet_b", batch_size=8)


@of_torch
def test_an_unknown_network_of_timms_is_told_with_the_closest(small, timm):
    work = Classification(small(24), augment=False)
    with pytest.raises(UsageError, match=r"timm has no model resnet19; did you mean resnet18[?]"):
        peer_of("lenet", work, network="timm:resnet19", batch_size=8)
    with pytest.raises(UsageError, match=r"timm has no model zzz$"):
        peer_of("lenet", work, network="timm:zzz", batch_size=8)
    assert timm == []


@of_torch
def test_without_timm_one_sentence_says_how_to_get_it(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match=r"--peer=timm:resnet18 needs the package timm .*: pip install timm$"):
        peer_of("lenet", Classification(small(24), augment=False), network="timm:resnet18", batch_size=8)


@of_torch
@pytest.mark.parametrize("kind", ["stream", "fit"])
def test_a_peer_takes_resident_data_alone(small, kind):
    with pytest.raises(UsageError, match=f"--peer=torch takes --input=resident; got {kind}"):
        peer_of("lenet", Classification(small(24), augment=False), batch_size=8, input=kind)


@of_torch
def test_a_peer_is_refused_where_there_is_none(small):
    with pytest.raises(UsageError, match=r"--peer=torch has the networks .*lenet.*; got --arch=lenet_tiny"):
        peer_of("lenet_tiny", Classification(small(24), augment=False), batch_size=8)
    with pytest.raises(UsageError, match="--peer=torch classifies single images; siamese_tiny does not"):
        peer_of("siamese_tiny", Pairs(small(24)), batch_size=8)
    model = architectures.create("shared_dense_tiny")
    with pytest.raises(UsageError, match="--peer=torch classifies single images; shared_dense_tiny does not"):
        peer_of(None, Synthetic(model, batch_size=8, seed=0), model=model, batch_size=8)
    with pytest.raises(UsageError, match="--peer takes the optimisers sgd, adam and adamw; got nadam"):
        peer_of("lenet", Classification(small(24), augment=False), batch_size=8, optimizer=keras.optimizers.Nadam())
    keras.config.set_dtype_policy("bfloat16")
    with pytest.raises(UsageError, match=r"--peer=torch takes --dtype_policy float32, .*; got bfloat16"):
        peer_of("lenet", Classification(small(24), augment=False), batch_size=8)


SETTINGS = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.8, "weight_decay": 30.0}),
    ("SGD", {"momentum": 0.8, "nesterov": True}),
    ("SGD", {"nesterov": True}),
    ("Adam", {"beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-6}),
    ("Adam", {"weight_decay": 30.0, "amsgrad": True}),
    ("AdamW", {"weight_decay": 30.0}),
    ("AdamW", {}),
]


@of_torch
@pytest.mark.parametrize(("name", "arguments"), SETTINGS)
def test_a_peers_optimiser_takes_the_steps_of_keras_s(name, arguments):
    torch = importlib.import_module("torch")
    ours = keras.Variable(np.linspace(-1, 1, 12).astype("float32"))
    theirs = torch.nn.Linear(12, 1, bias=False)
    theirs.weight.data[0] = torch.from_numpy(np.linspace(-1, 1, 12).astype("float32"))
    optimizer = getattr(keras.optimizers, name)(plain_torch().RATE, **arguments)
    optimizer.build([ours])
    peer = plain_torch().torch_optimizer(optimizer, theirs)
    rng = np.random.default_rng(0)
    for _ in range(5):
        gradient = torch.from_numpy(rng.normal(0, 1, 12).astype("float32"))
        with torch.no_grad():
            optimizer.apply([gradient])
        theirs.weight.grad = gradient[None].clone()
        peer.step()
    ours, theirs = ops.convert_to_numpy(ours), theirs.weight.detach().numpy()[0]
    np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-6)
    assert np.abs(ours - np.linspace(-1, 1, 12)).max() > 2e-3
    # Too small to be seen above, where one is added before and the other after the correction of the second moment.
    assert peer.defaults.get("eps") == optimizer.get_config().get("epsilon")


@of_torch
@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("SGD", {"clipnorm": 1.0, "use_ema": True, "momentum": 0.9}, "clipnorm, use_ema: PyTorch's sgd"),
        ("Adam", {"gradient_accumulation_steps": 2}, "gradient_accumulation_steps: PyTorch's adam"),
        ("AdamW", {"global_clipnorm": 1.0}, "global_clipnorm: PyTorch's adamw"),
    ],
)
def test_what_a_peers_optimiser_cannot_take_is_told(name, arguments, told):
    optimizer = getattr(keras.optimizers, name)(**arguments)
    with pytest.raises(UsageError, match=f"--peer can't take --optimizer_argument {told} has no such"):
        plain_torch().torch_optimizer(optimizer, importlib.import_module("torch").nn.Linear(2, 2))


@of_torch
def test_a_peer_follows_its_seed(small):
    work = Classification(small(24), augment=False)
    one, same, other = (peer_of("lenet", work, batch_size=8, seed=seed).run(4) for seed in (1, 1, 2))
    assert one == same != other
