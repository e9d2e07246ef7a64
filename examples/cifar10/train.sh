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

# Idle threads sleep: otherwise whatever else runs beside the training slows it several times.
export OMP_WAIT_POLICY=PASSIVE
hqc search --model examples/cifar10/model.py:spikformer --data "cifar10:$1" --time-steps 2 \
           --mixed-precision --batch 64 --float-epochs 22 --search-epochs 1 --train-epochs 7 \
           --beta 0.3 --keep head=8u --keep tokenizer.0.conv=8u -o "$2" $resume
hqc export "$2" -o "$2/model.onnx" --name cifar10
hqc export "$2" -o "$2/fp32.onnx" --name cifar10 --float
