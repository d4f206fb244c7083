# The README's two commands in a container:
#
#     docker build --tag minituner .
#     docker run --name study minituner && docker cp study:/minituner/REPORT.md .
#     docker run --rm minituner make test
FROM python:3.11-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git graphviz make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /minituner
# First only what the environment is built from, so that other edits do not reinstall it.
COPY pyproject.toml README.md Makefile ./
COPY envs envs
COPY minituner/__init__.py minituner/
RUN make .venv/.installed-test
COPY . .
CMD ["make", "report"]
