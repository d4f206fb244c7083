from minituner.files import write_json, write_text
from minituner.intervals import StatisticsSettings
from minituner.manifest import run_stage
from minituner.simulate import simulate, simulation_tables

with run_stage(snakemake) as job:
    config = job.params.config
    settings = StatisticsSettings(**config["statistics"])
    results = simulate(config["simulation"]["studies"], settings, job.params.seed)
    write_json(job.output.results, results)
    write_text(job.output.tables, simulation_tables(results))
