"""Looking at a search: its result in the terminal, its study in optuna-dashboard."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from loramill.config import domain_file, load_plan
from loramill.errors import ConfigError
from loramill.reports import read_json
from loramill.search.study import address_of, storage_of

COLUMNS = ("trial", "state", "loss", "rank", "alpha_ratio", "learning_rate")


def show(domain: str, artifacts: Path = Path("artifacts")) -> None:
    """Print what the last search of a domain tried and found.

    Raises:
        ConfigError: there is no such domain, or it was not searched yet.
    """
    domain_file(domain)
    path = artifacts / domain / "reports" / "search.json"
    if not path.is_file():
        raise ConfigError(f"{domain} was not searched yet: {str(path)!r} is missing. Run `loramill run {domain}` first")
    report = read_json(path)
    console = Console()
    if not report["searched"]:
        console.print(f"nothing was searched: {report['why']}")
        return
    console.print(_table(report["trials"]))
    if "said" not in report:
        return  # an earlier version's report: it knew nothing of noise
    console.print(
        f"loss {report['loss']:.4f}, {report['loss_corrected']:.4f} when corrected for the choice; "
        f"differences up to {report['noise']:.4f} are noise"
    )
    console.print(report["said"])


def _table(trials: list[dict[str, Any]]) -> Table:
    table = Table(*COLUMNS)
    for trial in sorted(trials, key=lambda trial: (trial["state"] != "complete", trial["loss"] or 0.0)):
        table.add_row(*(_shown(trial.get(column)) for column in COLUMNS))
    return table


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def open_dashboard(domain: str, port: int, artifacts: Path = Path("artifacts")) -> None:
    """Serve optuna-dashboard on the domain's studies until Ctrl-C, on this machine only.

    Raises:
        ConfigError: there is no such domain or study, or the dashboard is not installed.
    """
    plan = load_plan(domain_file(domain))
    storage = storage_of(plan.search.storage, artifacts / domain / "work" / "search" / "study.db")
    if isinstance(storage, Path) and not storage.is_file():
        raise ConfigError(f"{domain} has no study yet: {str(storage)!r} is missing. Run `loramill run {domain}` first")
    try:
        from optuna_dashboard import run_server
    except ImportError as error:
        raise ConfigError('the dashboard is not installed: pip install "loramill[dashboard]"') from error
    Console(stderr=True).print(f"http://127.0.0.1:{port} shows every search of {domain}; Ctrl-C ends it")
    run_server(address_of(storage), host="127.0.0.1", port=port)
