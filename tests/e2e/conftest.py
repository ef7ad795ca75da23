"""One copy of the repository and one Prefect server for all commands; each test leaves the copy usable."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.copies import Copy, make_copy, prefect_server


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server's address: `make up` as far as the flow can tell, and no temporary one for each command."""
    with prefect_server(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture(scope="session")
def copy(root: Path, tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path, api: str) -> Copy:
    made = make_copy(root, tmp_path_factory.mktemp("copy") / "loramill", tiny_folder)
    made.environment["PREFECT_API_URL"] = api
    return made
