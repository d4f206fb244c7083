"""The plan of a sweep: per rank, what the adapter is and what its jobs need."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from minituner.adapter_tensors import named_lora_parameters
from minituner.compute import ComputeSettings
from minituner.hf.hub import is_transformers
from minituner.lora import unwrap, wrap
from minituner.lora_config import LoRAConfig
from minituner.memory import (
    MemoryEstimate,
    ModelSize,
    Workload,
    available_bytes,
    evaluation_memory,
    require_memory,
    training_memory,
)
from minituner.pipeline.progress import progress_bar
from minituner.planning.inputs import TRANSFORMERS, PlanInputs, read_inputs
from minituner.planning.schedule import Job, sweep_seconds
from minituner.planning.timing import (
    measure_evaluation,
    measure_training,
    start_of_a_process,
)
from minituner.seeding import seed_everything
from minituner.statistics.gates import RULES
from minituner.train import LoRATrainConfig
from minituner.train_seeds import Data, parameter_count

Config = Mapping[str, Any]
SPLITS_OF_TRAINING = ("train", "val", "control")


@dataclass(frozen=True)
class RankPlan:
    """One rank: its adapter, and its two jobs, each of all seeds."""

    rank: int
    trained_weights: int
    adapter_bytes: int  # of the file of one seed
    size_ratio: float  # to the base's file
    gate_holds: bool
    steps: int  # per seed
    step_seconds: float
    train_seconds: float
    evaluate_seconds: float
    train_memory: MemoryEstimate
    evaluate_memory: MemoryEstimate


@dataclass(frozen=True)
class Plan:
    """The whole sweep."""

    ranks: Sequence[RankPlan]
    seeds: int
    estimates: Sequence[str]  # what is not exact, and why
    device: str
    base_weights: int
    base_bytes: int
    train_pairs: int
    start_seconds: float  # of a job, before its own work
    start_bytes: int
    evaluate_base_seconds: float
    cores: int
    jobs_at_a_time: int
    available_bytes: int
    total_seconds: float

    @property
    def peak_bytes(self) -> int:
        """The largest job's peak, with what Python and its libraries take."""
        estimates = [m for r in self.ranks for m in (r.train_memory, r.evaluate_memory)]
        return self.start_bytes + max(estimate.total for estimate in estimates)

    def require_memory(self) -> None:
        """Refuse the sweep where its jobs at a time do not fit into the memory.

        Raises:
            UserError: They do not.
        """
        what = f"{self.jobs_at_a_time} jobs at a time" if self.jobs_at_a_time > 1 else "one job"
        require_memory(self.jobs_at_a_time * self.peak_bytes, self.available_bytes, what)


def plan_sweep(config: Config, cores: int) -> Plan:
    """Measure a few steps of every rank, and compute the rest.

    Args:
        config: The whole config, already checked.
        cores: As for Snakemake.

    Raises:
        UserError: A file or a setting cannot be used.
    """
    seed_everything(config["seeds"][0], config["threads"]["train"])
    device = ComputeSettings(**config["compute"]).torch_device()
    available = available_bytes(device)
    modules = [TRANSFORMERS] if is_transformers(config["base"]["checkpoint"]) else []
    start_seconds, start_bytes = start_of_a_process(*modules)
    inputs = read_inputs(config)
    opening = start_seconds + inputs.load_seconds
    ranks = []
    with progress_bar(len(config["ranks"]), "measure each rank") as bar:
        for rank in sorted(config["ranks"]):
            ranks.append(plan_rank(config, inputs, rank, opening))
            bar.update()
    evaluate_base = opening + measure_evaluation(inputs.model, inputs.tokenizer, inputs.evaluated)
    on_gpu = device.type == "cuda"
    threads = config["threads"]
    jobs = min(max(1, cores // threads["train"]), len(ranks))
    # Jobs that share a GPU take turns on it.
    parallel = 1 if on_gpu else min(cores, os.cpu_count() or 1)
    return Plan(
        ranks=ranks,
        seeds=len(config["seeds"]),
        estimates=inputs.estimates,
        device=torch.cuda.get_device_name(device) if on_gpu else "CPU",
        base_weights=parameter_count(inputs.model),
        base_bytes=inputs.base_bytes,
        train_pairs=len(inputs.splits["train"]),
        start_seconds=start_seconds,
        start_bytes=0 if on_gpu else start_bytes,
        evaluate_base_seconds=evaluate_base,
        cores=cores,
        jobs_at_a_time=jobs,
        available_bytes=available,
        total_seconds=sweep_seconds(jobs_of(ranks, evaluate_base, threads), parallel),
    )


def plan_rank(config: Config, inputs: PlanInputs, rank: int, opening_seconds: float) -> RankPlan:
    """The plan of one rank; the model is as before afterwards.

    Args:
        opening_seconds: Of a job, until the base is loaded.
    """
    model, splits, seeds = inputs.model, inputs.splits, config["seeds"]
    lora = {key: value for key, value in config["lora"].items() if key != "rank"}
    train_config = LoRATrainConfig(**config["train"])
    wrap(model, LoRAConfig(r=rank, **lora), seeds[0])
    size, limit, cache = ModelSize.of(model), model.max_tokens_per_batch, model.cache_bytes
    trained = {name: splits[name] for name in SPLITS_OF_TRAINING}
    data = Data.of(trained, train_config, inputs.tokenizer.pad_id)
    steps = train_config.epochs * len(data.train_loader(seeds[0]))
    # The largest seed: its number is written in the file.
    seconds, adapter_bytes = measure_training(model, data, train_config, max(seeds))
    evaluation = measure_evaluation(model, inputs.tokenizer, inputs.evaluated)
    trained_weights = sum(p.numel() for p in named_lora_parameters(model).values())
    unwrap(model)
    ratio = adapter_bytes / inputs.base_bytes
    holds = RULES["adapter_size_ratio"][1]
    return RankPlan(
        rank=rank,
        trained_weights=trained_weights,
        adapter_bytes=adapter_bytes,
        size_ratio=ratio,
        gate_holds=holds(ratio, config["gates"]["adapter_size_ratio"]),
        steps=steps,
        step_seconds=seconds.step,
        train_seconds=opening_seconds + seconds.job(steps, len(seeds), train_config),
        evaluate_seconds=opening_seconds + len(seeds) * evaluation,
        train_memory=training_memory(
            size, Workload.of(trained, train_config.batch_size, limit), cache
        ),
        evaluate_memory=evaluation_memory(
            size, Workload.of(inputs.evaluated, max_tokens=limit), cache
        ),
    )


def jobs_of(
    ranks: Sequence[RankPlan], evaluate_base_seconds: float, threads: Mapping[str, int]
) -> list[Job]:
    """The jobs of the sweep: the base's evaluation, and for each rank training and evaluation."""
    jobs = [Job(evaluate_base_seconds, threads["evaluate"])]
    for plan in ranks:
        jobs.append(Job(plan.train_seconds, threads["train"], priority=1))
        jobs.append(Job(plan.evaluate_seconds, threads["evaluate"], after=len(jobs) - 1))
    return jobs
