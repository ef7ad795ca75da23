"""The ``loramill`` command. Heavy imports live inside the commands, so that ``--help`` is instant."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from loramill.errors import LoramillError
from loramill.privacy import switch_off_telemetry

app = typer.Typer(
    help="Question-and-answer rows in, proven LoRA adapters out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Domain = Annotated[str, typer.Argument(help="A domain: a file conf/<name>.yaml.")]


@app.command()
def run(
    what: Annotated[str, typer.Argument(help="A domain of conf/, or a flat YAML file of an earlier LoRA tool.")],
    force: Annotated[bool, typer.Option(help="Run every step even if nothing changed.")] = False,
) -> None:
    """Take a domain's rows to a registered adapter with a verdict."""
    if what.endswith((".yaml", ".yml")):
        from loramill.flat import translate

        translated = translate(Path(what), Path("artifacts"))
        for line in translated.said:
            print(f"  {line}")
        code = _flow([str(translated.plan), "--data", str(translated.data)], force=force)
        if code == 0:
            print(f"adapter copied to {translated.deliver()}")
        raise typer.Exit(code)
    raise typer.Exit(_flow([what], force=force))


@app.command()
def chat(
    domain: Domain,
    compare: Annotated[bool, typer.Option("--compare", help="Let the bare base answer too, side by side.")] = False,
    tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.")] = 200,
) -> None:
    """Talk to a domain's promoted adapter; /use DOMAIN takes another, /new forgets the conversation, /bye ends it."""
    from loramill.serving.chat import chat as talk

    talk(domain, compare=compare, max_new_tokens=tokens)


@app.command()
def new(
    domain: Annotated[str, typer.Argument(help="Name of the new domain: lower-case letters, digits, dashes.")],
) -> None:
    """Make a domain: its file in conf/, its folder in data/, its stages and its deployment."""
    from loramill.scaffold import make_domain

    for line in make_domain(domain, Path()):
        print(line)


@app.command()
def check(
    domain: Domain,
    rows: Annotated[int, typer.Option(help="Rows to show, besides the longest and those with a problem.", min=0)] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")] = False,
    data_docs: Annotated[
        bool, typer.Option("--data-docs", help="Write Great Expectations' Data Docs as well.")
    ] = False,
    config: Annotated[bool, typer.Option("--config", help="Only print the configuration with every default.")] = False,
) -> None:
    """Prove in seconds, without weights, what would be learnt: rows, tokens, plan, problems. Status 1 if it cannot start."""
    if config:
        _print_plan(domain)
        return
    from loramill.check import check_domain, show_json, show_terminal, write_data_docs

    report, plan, page = check_domain(domain)
    if data_docs:
        print(f"Data Docs: {write_data_docs(domain, plan)}", file=sys.stderr)
    if as_json:
        show_json(report, page)
    else:
        show_terminal(report, plan, page, rows)
    raise typer.Exit(0 if report.is_ready else 1)


@app.command()
def search(
    domain: Domain,
    dashboard: Annotated[bool, typer.Option("--dashboard", help="Open optuna-dashboard on the study.")] = False,
    port: Annotated[int, typer.Option(help="Port of the dashboard, on this machine only.")] = 8081,
) -> None:
    """Show what the last search of a domain tried, found, and may say about it."""
    from loramill.search.look import open_dashboard, show

    if dashboard:
        open_dashboard(domain, port)
    else:
        show(domain)


@app.command()
def forget(
    domain: Domain,
    row: Annotated[str, typer.Option(help="Id of the row, as artifacts/<domain>/splits and records.jsonl have it.")],
    by: Annotated[str, typer.Option(help="Who asks for it.")] = "",
    reason: Annotated[str, typer.Option(help="Why; it stands on the proof sheet and in the registry.")] = "",
) -> None:
    """Take a row out of training for ever: train without it, retire every adapter that learnt it, write a proof sheet."""
    raise typer.Exit(_module("flows.forget", domain, row, "--by", by, "--reason", reason))


By = Annotated[str, typer.Option("--by", help="Who decides; it stands in the audit log.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the audit log.")]
Number = Annotated[str | None, typer.Option("--version", help="A version of the registry; the challenger if left out.")]
Digest = Annotated[str, typer.Argument(help="Digest of an adapter, or its first characters.")]


@app.command()
def approve(domain: Domain, by: By, reason: Reason, version: Number = None) -> None:
    """Make the challenger champion by a person's decision, even against the gates."""
    from loramill import approval

    print(approval.approve(domain, approval.Person(by, reason), version))


@app.command()
def reject(domain: Domain, by: By, reason: Reason, version: Number = None) -> None:
    """Keep the challenger from ever being promoted by the gates."""
    from loramill import approval

    print(approval.reject(domain, approval.Person(by, reason), version))


@app.command()
def rollback(
    domain: Domain,
    to: Annotated[str | None, typer.Option("--to", help="A version; the champion before this one if left out.")] = None,
    by: By = "",
    reason: Reason = "rolled back",
) -> None:
    """Put an earlier champion back into service."""
    from loramill import approval

    print(approval.rollback(domain, approval.Person(by or approval.whoever(), reason), to))


@app.command()
def history(domain: Domain) -> None:
    """Show a domain's champions, versions and decisions."""
    from loramill import approval

    for line in approval.history(domain):
        print(line)


@app.command()
def trace(digest: Digest) -> None:
    """Lead an adapter's digest back to its run, data, commit and configuration."""
    from loramill import trace as traces

    print(traces.written(traces.trail(digest).told), end="")


@app.command()
def reproduce(digest: Digest) -> None:
    """Train an adapter again from what was stored: equal, within tolerance, or different (status 1)."""
    raise typer.Exit(_module("tasks.reproduce", digest))


def _print_plan(domain: str) -> None:
    import yaml

    from loramill.config import domain_file, load_plan

    plan = load_plan(domain_file(domain))
    print(yaml.safe_dump(plan.model_dump(mode="json"), allow_unicode=True, sort_keys=False), end="")


def _flow(arguments: list[str], *, force: bool) -> int:
    return _module("flows.finetune", *arguments, *(["--force"] if force else []))


def _module(name: str, *arguments: str) -> int:
    """Run a flow in a process of its own, with Prefect's own lines off: our errors say what to do."""
    command = [sys.executable, "-m", name, *arguments]
    environment = {"PREFECT_LOGGING_LEVEL": "CRITICAL", "PYTHONWARNINGS": "ignore"} | os.environ
    process = subprocess.Popen(command, env=environment)  # noqa: S603 - our own words
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # the flow hears Ctrl-C itself and ends in order


def main() -> None:
    """Run a command; errors that a person can act on come without a traceback."""
    switch_off_telemetry()
    _polite(app)


def _polite(command: Callable[[], object]) -> None:
    try:
        command()
    except LoramillError as error:
        sys.exit(f"error: {error}")
