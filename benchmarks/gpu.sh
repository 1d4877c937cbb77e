#!/usr/bin/env bash
# Test, measure and train on a machine with a GPU. Each stage has a time limit, and keeps its results if it is stopped.
#
#     benchmarks/gpu.sh [OPTION...] [STAGE[=SECONDS]...]
#
# Stages and their default limits; without STAGE, all stages run in this order:
#
#     tests=240              the tests that need a GPU
#     ceiling=120            speed of training compared with the backbone alone
#     peers=200              speed of training compared with other libraries
#     best=600               recipes/gpu/features.toml, groups.toml and self-label.toml
#     selfcls-resnet18=600   recipes/gpu/selfcls-resnet18.toml
#     selfcls-alexnet=600    recipes/gpu/selfcls-alexnet.toml
#     swav=900               recipes/gpu/swav-augmentation-1.toml and -2.toml, then fine-tuning with few labels
#
# Options:
#
#     --cifar10 PATH, --cifar100 PATH   folder with train/CLASS and test/CLASS, or a tar archive of one, or the common
#                                       start of the names of the archive's pieces; default: download
#     --out DIR                         results: STAGE.log, and results.tar.gz with records and metrics;
#                                       default: $OUT, else gpu-results
#     --work DIR                        runs, images and packages; default: a folder in $TMPDIR that later calls reuse
#     --wheels DIR                      wheels to install, for a machine without network; make them elsewhere with
#                                       pip wheel --no-deps -w DIR . plugins/sslkit-* tomli-w lightly
#     --rehearse                        run every stage at a tiny size on the CPU, in minutes
#
# $PYTHON is the interpreter. If it cannot import sslkit and there are no wheels, packages are installed in .venv.

set -uo pipefail

ROOT=$(cd "$(dirname "$0")/.." && pwd)
STAGES=(tests=240 ceiling=120 peers=200 best=600 selfcls-resnet18=600 selfcls-alexnet=600 swav=900)
OUT=${OUT:-$ROOT/gpu-results} WORK=${TMPDIR:-/tmp}/sslkit-gpu
CIFAR10='' CIFAR100='' WHEELS='' REHEARSE='' CHOSEN=() SUMMARY=()

fail() { echo "gpu.sh: $*" >&2; exit 2; }

while [ $# -gt 0 ]; do
  case $1 in
    --cifar10 | --cifar100 | --out | --work | --wheels) [ $# -gt 1 ] || fail "$1 needs a value" ;;& # continue below
    --cifar10) CIFAR10=$2; shift ;;
    --cifar100) CIFAR100=$2; shift ;;
    --out) OUT=$2; shift ;;
    --work) WORK=$2; shift ;;
    --wheels) WHEELS=$2; shift ;;
    --rehearse) REHEARSE=1 ;;
    --help | -h) sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; exit ;;
    -*) fail "unknown option $1" ;;
    *)
      [[ " ${STAGES[*]}" == *" ${1%%=*}="* ]] || fail "unknown stage $1; stages are ${STAGES[*]%%=*}"
      for stage in "${STAGES[@]}"; do
        [ "${stage%%=*}" != "${1%%=*}" ] || CHOSEN+=("$([[ $1 == *=* ]] && echo "$1" || echo "$stage")")
      done
      ;;
  esac
  shift
done
[ ${#CHOSEN[@]} -gt 0 ] || CHOSEN=("${STAGES[@]}")

mkdir -p "$OUT" "$WORK" && OUT=$(cd "$OUT" && pwd) && WORK=$(cd "$WORK" && pwd) || exit 2
[ -z "$WHEELS" ] || WHEELS=$(cd "$WHEELS" && pwd) || exit 2
cd "$ROOT" || exit 2
export SSLKIT_RUNS=$WORK/runs SSLKIT_RECORDS=$WORK/records SSLKIT_CACHE=$WORK/cache PYTHONUNBUFFERED=1
SITE=$WORK/site
export PYTHONPATH=$ROOT:$(printf '%s:' "$ROOT"/plugins/sslkit-*)$SITE${PYTHONPATH:+:$PYTHONPATH}
mkdir -p "$SSLKIT_RUNS" "$SSLKIT_RECORDS"

# Pack records and metrics, without weights and checkpoints. The old archive stays valid until the new one is complete.
keep() {
  tar -czf "$OUT/.results" -C "$WORK" --exclude=checkpoints --exclude='*.safetensors' --exclude=latest records runs \
    2>/dev/null # a file may change while it is read
  mv -f "$OUT/.results" "$OUT/results.tar.gz"
}

# Run the function of a stage for at most LIMIT seconds, with its output in STAGE.log. SIGINT lets training save.
run_stage() {
  local name=$1 limit=$2 started=$SECONDS status child
  echo "== $name, at most $limit s"
  set -m # the stage gets a process group of its own, so that the signals below reach all its processes
  (trap - EXIT INT TERM; set -eo pipefail; "stage_${name//-/_}") >"$OUT/$name.log" 2>&1 &
  child=$!
  set +m
  CHILD=$child
  while kill -0 "$child" 2>/dev/null; do
    if [ $((SECONDS - started)) -ge "$limit" ]; then
      echo "gpu.sh: stopped after $limit s" >>"$OUT/$name.log"
      stop "$child"
      break
    fi
    sleep 1
    [ $(((SECONDS - started) % 20)) -ne 0 ] || keep
  done
  wait "$child"
  status=$?
  CHILD=''
  tail -n 15 "$OUT/$name.log"
  SUMMARY+=("$name: exit status $status after $((SECONDS - started)) s")
  keep
}

stop() {
  kill -INT -- "-$1" 2>/dev/null
  for _ in {1..20}; do
    kill -0 -- "-$1" 2>/dev/null || return
    sleep 1
  done
  kill -KILL -- "-$1" 2>/dev/null
}

finish() {
  trap - EXIT INT TERM
  [ -z "${CHILD:-}" ] || stop "$CHILD"
  keep
  [ ${#SUMMARY[@]} -eq 0 ] || printf '%s\n' "${SUMMARY[@]}"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

prepare() {
  if [ -z "${PYTHON:-}" ]; then
    PYTHON=python3
    [ ! -x .venv/bin/python ] || PYTHON=$ROOT/.venv/bin/python
  fi
  if [ -n "$WHEELS" ]; then
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --upgrade --target "$SITE" "$WHEELS"/*.whl || return
  elif ! "$PYTHON" -c 'import lightly; from importlib.metadata import version; version("sslkit-lightly")' 2>/dev/null; then
    make .venv/installed && .venv/bin/pip install -q pytest hypothesis || return
    PYTHON=$ROOT/.venv/bin/python
  fi
  "$PYTHON" - <<'PY'
import torch, lightly, sslkit
print(f"torch {torch.__version__}, lightly {lightly.__version__}, sslkit from {sslkit.__file__}")
print("GPU:", torch.cuda.get_device_name() if torch.cuda.is_available() else "none")
PY
}

# Print the folder with the images of a data set; nothing if torchvision downloads them.
images() {
  local name=$1 path=$2 target=$WORK/images/$1
  [ -n "$path" ] || return 0
  if [ ! -d "$path" ]; then
    if [ ! -e "$target/complete" ]; then
      mkdir -p "$target"
      cat "$path"* | "$PYTHON" -c 'import sys, tarfile
tarfile.open(fileobj=sys.stdin.buffer, mode="r|*").extractall(sys.argv[1], filter="data")' "$target" >&2 || return
      touch "$target/complete"
    fi
    path=$(dirname "$(find "$target" -maxdepth 3 -type d -name train | head -n 1)")
  fi
  (cd "$path" && pwd)
}

# Options of the benchmarks and settings of the recipes; --rehearse makes them tiny.
CEILING='--rounds 3 --seconds 2' PEERS='--rounds 2 --warm-up 10 --steps 40 --images 16384'
declare -A TINY=()
PLAN=benchmarks/accuracy/fractions/swav-gpu.toml
if [ -n "$REHEARSE" ]; then
  export CUDA_VISIBLE_DEVICES='' # a GPU would not be rehearsal, and would not be tiny
  WORK=$WORK/rehearsal && rm -rf "$WORK" && mkdir -p "$WORK/records" "$WORK/runs"
  SSLKIT_RUNS=$WORK/runs SSLKIT_RECORDS=$WORK/records SSLKIT_CACHE=$WORK/cache
  CEILING='--rounds 1 --seconds 0.1 --batch 8 --images 64'
  PEERS='--rounds 1 --warm-up 1 --steps 1 --batch 8 --images 64'
  tiny="--set train.epochs=2 --set train.batch_size=16"
  convnet="--set backbone={use='convnet',width=4}"
  for name in selfcls-resnet18 selfcls-alexnet features; do TINY[$name]="$tiny $convnet"; done
  frozen="{use='convnet',width=4,weights='run:gpu-features',train='none'}"
  TINY[groups]="$tiny --set positives.k=2 --set backbone=$frozen"
  TINY[self-label]="$tiny --set loss.threshold=0.05 $convnet"
fi

make_rehearsal() {
  "$PYTHON" - "$WORK" <<'PY'
import json, sys
from pathlib import Path
import numpy
from PIL import Image
work, random = Path(sys.argv[1]), numpy.random.default_rng(0)
for split, count in (("train", 8), ("test", 2)):
    for label in "abcdef":
        folder = work / "tiny" / split / label
        folder.mkdir(parents=True)
        for number in range(count):
            Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype="uint8")).save(folder / f"{number}.png")
settings = ["train.epochs=2", "train.batch_size=16", "backbone={use='convnet', width=4}", "head.prototypes=[8]"]
plan = "fractions = [0.3]\ndraws = [0]\n[finetune]\nepochs = 1\nmin_steps = 1\nlr_backbones = [0.05]\n"
for number in (1, 2):
    recipe = json.dumps(str(Path(f"recipes/gpu/swav-augmentation-{number}.toml").absolute()))
    plan += f'[pretrainings."augmentation {number}"]\nrecipe = {recipe}\nsettings = {json.dumps(settings)}\n'
(work / "swav-gpu.toml").write_text(plan)
PY
  CIFAR10=$WORK/tiny CIFAR100=$WORK/tiny PLAN=$WORK/swav-gpu.toml
}

stage_tests() {
  # In a rehearsal, these tests are skipped.
  "$PYTHON" -m pytest -q -rfEs --durations=10 tests/training/test_gpu.py
}

stage_ceiling() {
  for stem in imagenet small; do "$PYTHON" benchmarks/speed/ceiling.py --stem "$stem" $CEILING; done
}

stage_peers() {
  "$PYTHON" benchmarks/speed/peers.py --stem imagenet $PEERS --trainings lightly tuned precomputed sslkit
  "$PYTHON" benchmarks/speed/peers.py --stem small $PEERS --trainings lightly sslkit
}

# Train a recipe of CIFAR-10, evaluate the run and write its record.
record() {
  local recipe=$1 folder
  shift
  folder=$(images cifar10 "$CIFAR10")
  "$PYTHON" benchmarks/accuracy/cifar10.py "gpu-$recipe" "recipes/gpu/$recipe.toml" --runs "$SSLKIT_RUNS" \
    ${folder:+--images "$folder"} ${TINY[$recipe]:-} "$@"
}

train() {
  local recipe=$1 folder
  folder=$(images cifar10 "$CIFAR10")
  "$PYTHON" -m sslkit.cli train "recipes/gpu/$recipe.toml" ${TINY[$recipe]:-} \
    ${folder:+--set data.use=image-folder --set "data.root=$folder"}
}

stage_best() {
  train features
  train groups
  "$PYTHON" -m sslkit.cli eval gpu-groups --cluster
  record self-label --continue-from gpu-groups
}

stage_selfcls_resnet18() { record selfcls-resnet18; }

stage_selfcls_alexnet() { record selfcls-alexnet; }

stage_swav() {
  local folder
  folder=$(images cifar100 "$CIFAR100")
  "$PYTHON" benchmarks/accuracy/finetune_fractions.py "$PLAN" --runs "$SSLKIT_RUNS" ${folder:+--images "$folder"}
}

prepare || fail "the environment is not usable"
[ -z "$REHEARSE" ] || make_rehearsal || fail "the images of the rehearsal cannot be written"
for stage in "${CHOSEN[@]}"; do run_stage "${stage%%=*}" "${stage##*=}"; done
[[ ! " ${SUMMARY[*]} " =~ status\ [1-9] ]]
