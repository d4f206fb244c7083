from minituner.pipeline.stage import run_stage
from minituner.statistics.intervals import StatisticsSettings
from minituner.statistics.simulate import simulate, simulation_tables
from minituner.storage.files import write_json, write_text

with run_stage(snakemake) as job:
    settings = StatisticsSettings(**job.params.config["statistics"])
    results = simulate(job.params.config["simulation"]["studies"], settings, job.params.seed)
    write_json(job.output.results, results)
    write_text(job.output.tables, simulation_tables(results))
