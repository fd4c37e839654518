"""Installs the built packages into clean environments and has them work from there.

python check.py dist
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PINNED = HERE.parents[1] / "requirements-dev.txt"


def main(dist: Path) -> None:
    wheels, sdists = list(dist.glob("*.whl")), list(dist.glob("*.tar.gz"))
    assert len(wheels) == len(sdists) == 1, f"one wheel and one sdist, not {list(dist.iterdir())}"
    names = zipfile.ZipFile(wheels[0]).namelist()
    assert "marque/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    strays = [name for name in names if not re.match(r"marque(_sdk-[0-9.]+\.dist-info)?/", name)]
    assert not strays, f"the wheel has more than the package: {strays}"
    with tempfile.TemporaryDirectory() as folder:
        server, profile = start(Path(folder) / "server")
        try:
            for package in (wheels[0], sdists[0]):
                use(package.resolve(), Path(folder) / package.suffix[1:], profile)
        finally:
            server.terminate()
            server.communicate(timeout=20)


def start(folder: Path) -> tuple[subprocess.Popen[str], Path]:
    """A development server, and where its profile is."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("MARQUE_")}
    server = subprocess.Popen(
        [os.environ["MARQUE_BINARY"], "serve", "--dev", "--data-dir", str(folder),
         "--listen", "127.0.0.1:0"],
        env=env | {"MARQUE_OPERATIONS_LISTEN": "off"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    assert server.stdout is not None
    assert any("serving" in line for line in server.stdout), "the server did not start"
    return server, folder


def use(package: Path, folder: Path, profile: Path) -> None:
    """Installs a package and runs a program that has nothing else."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--constraint", PINNED, package], check=True)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MARQUE_", "PYTHON"))}
    done = subprocess.run(
        [python, "-I", "-W", "error", HERE / "program.py"],
        cwd=folder,
        env=kept | {"XDG_CONFIG_HOME": str(profile)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(f"{package.name}: installed and working, {done.stdout.strip()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
