#!/bin/bash
# One simulation over the nodes of a Slurm cluster. It goes on by itself after its time limit, and
# after a node or a rank was lost.
#
#   sbatch --nodes=4 --cpus-per-task=32 sim/cluster/slurm_job.sh run.textproto scenario.textproto \
#     --data /shared/tables --out /shared/out/first
#
# What follows this file's name is that of `consilium-sim run`; consilium-sim is looked for in PATH,
# and all files are to be where every node has them. --checkpoint-s says how much is lost when a
# node fails. docs/simulator.md ("Clusters") has the rest.

#SBATCH --job-name=consilium-sim --output=consilium-sim-%j.log --open-mode=append
#SBATCH --nodes=2 --ntasks-per-node=1 --cpus-per-task=8 --time=12:00:00
# Slurm itself begins the job anew where a node fails. Two minutes before the time limit the ranks
# are told; then rank 0 writes a checkpoint and ends with code 1.
#SBATCH --requeue --signal=TERM@120

# What is saved: each checkpoint with its time.
saved() {
  local word before=
  for word in "$@"; do
    if [[ $before == --out ]]; then ls -l --time-style=full-iso "$word"/checkpoint/*.[01]; fi
    before=$word
  done 2>/dev/null
}

at_start=$(saved "$@")
# A step does not take over the job's --cpus-per-task (since Slurm 22.05). A rank that fails ends the
# step, but leaves rank 0 its time for a checkpoint.
srun --mpi=pmix --kill-on-bad-exit=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \
  consilium-sim run "$@" --threads "${SLURM_CPUS_PER_TASK:-1}"
code=$?

# What has failed before it came any further would fail again.
if ((code != 0)) && [[ $(saved "$@") != "$at_start" ]]; then
  echo "slurm_job.sh: ended with code $code; goes on from its checkpoint when Slurm starts it again"
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
