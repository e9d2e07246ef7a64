#!/bin/sh
# Train, search and export the example's network.
#
#     examples/cifar10/train.sh DATA RUN
#
# DATA holds CIFAR-10's binary version (data_batch_1.bin to 5, test_batch.bin); RUN gets everything
# that the search writes. An interrupted search goes on with the same command.
set -eu
cd "$(dirname "$0")/../.."
resume=$(test -e "$2/config.json" && echo --resume || true)

hqc search --model examples/cifar10/model.py:spikformer --data "cifar10:$1" --time-steps 2 \
           --mixed-precision --fuse-neurons --batch 64 \
           --float-epochs 20 --search-epochs 2 --train-epochs 4 \
           --beta 0.3 --keep head=8u --keep tokenizer.0.conv=8u -o "$2" $resume
hqc export "$2" -o "$2/model.onnx" --name cifar10
hqc export "$2" -o "$2/fp32.onnx" --name cifar10 --float
