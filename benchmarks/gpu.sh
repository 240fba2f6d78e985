#!/usr/bin/env bash
# The two comparisons that matter on a GPU, against torch.compile: with JAX, bfloat16, synthetic images, no TensorFlow.
#
#     benchmarks/gpu.sh benchmarks/results/gpu.jsonl
#
# needs jax[cuda], torch, timm, keras, scipy, absl-py and rich. Flags after the file are handed to both, as --runs=3.
set -euo pipefail
out=$(realpath -m "${1:?a file for the records is needed}")
shift
cd "$(dirname "$0")/.."
export KERAS_BACKEND=jax
versus=(python3 -m benchmarks.versus --dataset=synthetic --dtype_policy=mixed_bfloat16 --out="$out" "$@")

"${versus[@]}" --arch=resnet20 --batch_size=1024 --steps=200 --peer=torch_compile
"${versus[@]}" --arch=resnet50_v1_5 --batch_size=256 --steps=60 --peer=timm:resnet50
