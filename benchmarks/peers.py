"""Make the peers' environments for the benchmarks: ``python -m benchmarks.peers``. They stay out of ours."""

import subprocess
import sys

from benchmarks.contest import PEERS

PACKAGES = {"trl": ["trl", "transformers", "peft", "accelerate", "datasets"], "llamafactory": ["llamafactory"]}


def main() -> None:
    """Create each environment that is missing; note its versions beside it."""
    import torch

    version = torch.__version__.split("+")[0]
    for name, packages in PACKAGES.items():
        folder = PEERS / name
        python = folder / "bin" / "python"
        if not python.is_file():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", f"torch=={version}"], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", f"torch=={version}", *packages], check=True)
        # these wheels cannot be loaded beside a CPU torch, and no text model needs them
        subprocess.run(
            [str(python), "-m", "pip", "uninstall", "--quiet", "--yes", "torchvision", "torchaudio"], check=True
        )
        frozen = subprocess.run([str(python), "-m", "pip", "freeze"], check=True, capture_output=True, text=True)
        (PEERS / f"{name}.txt").write_text(frozen.stdout, encoding="utf-8")
        print(f"{name}: ready in {folder}")


if __name__ == "__main__":
    main()
