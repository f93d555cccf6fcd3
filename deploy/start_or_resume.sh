#!/usr/bin/env bash
# All stages of a run, or what is left of them after an earlier try: for jobs that a cluster starts again after a loss.
#   deploy/start_or_resume.sh RUN_FILE RUN_FOLDER [key=value ...]
# RUN_FOLDER is `output_dir/name` of the run file. Two tries at once do no harm: the second is refused by the run's lock.
set -euo pipefail
run_file=$1 run_folder=$2
shift 2
allgood=("${PYTHON:-python}" -m pipelines.cli)

if [[ -f $run_folder/unfinished.yaml ]]; then
    exec "${allgood[@]}" resume "$run_folder" # what is left of all stages
elif [[ -f $run_folder/summary.json ]]; then
    echo "$run_folder is aligned already"
elif [[ -d $run_folder/checkpoints ]]; then
    "${allgood[@]}" resume "$run_folder"
else
    exec "${allgood[@]}" chain "$run_file" "$@"
fi
"${allgood[@]}" evaluate "$run_folder"
exec "${allgood[@]}" report "$run_folder"
