#!/bin/bash
# One simulation over the nodes of a Slurm cluster. It goes on by itself after its time limit, and
# after a node or a rank was lost.
#
#   sbatch --nodes=4 --cpus-per-task=32 sim/cluster/slurm_job.sh run.textproto scenario.textproto \
#     --data /shared/tables --out /shared/out/first
#
# What follows this file's name is that of `consilium-sim run`; consilium-sim is looked for in PATH,
# and all files are to be where every node has them. --checkpoint-s says how much is lost when a
# node fails. $CONSILIUM_RESTARTS_MAX says how often the job is started again (0: never; default
# 100). docs/simulator.md ("Clusters") has the rest.

#SBATCH --job-name=consilium-sim --output=consilium-sim-%j.log --open-mode=append
#SBATCH --nodes=2 --ntasks-per-node=1 --cpus-per-task=8 --time=12:00:00
# Slurm itself begins the job anew where a node fails. Two minutes before the time limit the ranks
# are told; then rank 0 writes a checkpoint and ends with code 1.
#SBATCH --requeue --signal=TERM@120

say() { echo "slurm_job.sh: $*"; }

# A run that always fails after its checkpoint comes further each time, and would go on for ever.
# 100 starts are fifty days of the time limit above; of a run that fails at once they are some hours.
restarts_max=${CONSILIUM_RESTARTS_MAX:-100}
if [[ ! $restarts_max =~ ^(0|[1-9][0-9]{0,8})$ ]]; then
  say "CONSILIUM_RESTARTS_MAX=$restarts_max: must be a number, from 0 to 999999999"
  exit 2
fi

# What is saved: each checkpoint with its time.
saved() {
  local word before=
  for word in "$@"; do
    if [[ $before == --out ]]; then word=--out=$word; fi
    if [[ $word == --out=* ]]; then
      ls -l --time-style=full-iso "${word#--out=}"/checkpoint/*.[01]
    fi
    before=$word
  done 2>/dev/null
}

at_start=$(saved "$@")
# A step does not take over the job's --cpus-per-task (since Slurm 22.05). A rank that fails ends the
# step, but leaves rank 0 its time for a checkpoint.
srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \
  consilium-sim run "$@" --threads "${SLURM_CPUS_PER_TASK:-1}"
code=$?
if ((code == 0)); then exit 0; fi

# Slurm counts the starts after the first, its own ones after a node has failed among them.
restarts=${SLURM_RESTART_COUNT:-0}
if [[ $(saved "$@") == "$at_start" ]]; then
  say "ended with code $code, and saved nothing that it did not begin with: not started again"
elif ((restarts >= restarts_max)); then
  say "ended with code $code after $restarts restarts, and CONSILIUM_RESTARTS_MAX is" \
    "$restarts_max: not started again. The same sbatch goes on from its checkpoint, and counts anew"
else
  say "ended with code $code; goes on from its checkpoint when Slurm starts it again" \
    "(restart $((restarts + 1)) of at most $restarts_max)"
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
