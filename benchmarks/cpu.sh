#!/usr/bin/env bash
# All records of benchmarks/results/two_cores.jsonl: the README's networks on real MNIST and CIFAR-10, each comparison with
# five runs of both sides. About 40 minutes on 2 cores, which must have nothing else to do.
#
#     benchmarks/cpu.sh benchmarks/results/two_cores.jsonl
#
# needs the packages of `pip install -e '.[bench,peers]'` and both data sets in TFDS_DATA_DIR. Flags after the file are
# handed to the comparisons, as --runs=3.
set -euo pipefail
out=$(realpath -m "${1:?a file for the records is needed}")
shift
cd "$(dirname "$0")/.."
python=$([[ -x .venv/bin/python ]] && echo .venv/bin/python || echo python3)
versus=("$python" -m benchmarks.versus --out="$out" "$@")
throughput=("$python" -m benchmarks.throughput --out="$out" --arch=resnet20 --dataset=cifar10 --batch_size=128 --steps=40)
train=("$python" -m benchmarks.train --out="$out")

"${versus[@]}" --arch=resnet20 --dataset=cifar10 --batch_size=128 --steps=40 --peer=torch
"${versus[@]}" --arch=resnet20 --dataset=cifar10 --batch_size=128 --steps=40 --peer=fit
"${versus[@]}" --arch=mlp_784_64_10 --dataset=mnist --batch_size=32 --peer=fit
"${versus[@]}" --arch=mlp_784_64_10 --dataset=mnist --batch_size=32 --peer=torch
"${versus[@]}" --arch=lenet --dataset=mnist --batch_size=128 --peer=torch
"${versus[@]}" --arch=lenet --dataset=mnist --batch_size=1024 --steps=20 --peer=fit

"${throughput[@]}" --trace=build/trace
"${throughput[@]}" --input=stream
"${throughput[@]}" --mode=inference

"${train[@]}"
"${train[@]}" --arch=siamese_lenet --dataset=mnist
"${train[@]}" --arch=resnet20 --dataset=cifar10 --epochs=2
