"""Make a Python for a processor that is not there, run by qemu-user, with what edgesep needs:

    scripts/emulated_python.py arm64-bookworm       # or arm64-trixie, armhf-trixie, all
    build/emulated/arm64-bookworm/python -c "import platform; print(platform.machine())"

Unpacks Debian packages into a folder (own apt state, nothing is installed here; no root) and
puts wheels beside them. Needs qemu-user, apt, dpkg, a network, and an edgesep development
environment; 50 to 120 MB each. A tree that is complete is left as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TREES = ROOT / "build" / "emulated"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# The runtime's and XNNPACK's idea of a processor comes from here; a PC's own file crashes them.
CPUINFO = """\
processor\t: {number}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid{features}
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: {variant}
CPU part\t: {part}
CPU revision\t: {revision}

"""


@dataclass(frozen=True)
class Tree:
    """A Debian release on an architecture."""

    architecture: str
    suite: str
    python: str
    qemu: str
    cpu: str
    """Of qemu's processors. Not "max", whose pointer authentication makes Debian 13 crawl."""
    packages: tuple[str, ...]
    """Debian's, beside Python: what has no wheel for the architecture."""
    wheels: tuple[str, ...]
    compiler: str
    """The one that builds for it here."""
    multiarch: str
    """Debian's name of the architecture's library folders."""

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.architecture}-{self.suite}"

    @property
    def folder(self) -> Path:
        """Where it is."""
        return TREES / self.name

    @property
    def command(self) -> Path:
        """What runs its Python."""
        return self.folder / "python"

    @property
    def system(self) -> Path:
        """The root of its file system."""
        return self.folder / "root"

    @property
    def site(self) -> Path:
        """Where its wheels are."""
        return self.folder / "venv" / "lib" / f"python{self.python}" / "site-packages"

    def stamp(self) -> str:
        """Return what a complete tree says about itself."""
        return json.dumps({**asdict(self), "litert": litert_version()}, indent=1)

    def is_complete(self) -> bool:
        """Tell whether it is there, made by this description, with this machine's LiteRT."""
        file = self.folder / "complete"
        return file.is_file() and file.read_text() == self.stamp()


LITERT = "ai-edge-litert"
TOOLS = ("pip", "setuptools>=77")


def dependencies() -> list[str]:
    """Return what the package requires, as it says in pyproject.toml."""
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        from pip._vendor import tomli as tomllib
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return list(project["dependencies"])


def wheels_without(*names: str) -> tuple[str, ...]:
    """Return the requirements to install as wheels, without those that Debian has."""
    lines = [line for line in dependencies() if not line.startswith(names or ("-",))]
    return (*lines, *TOOLS)


ARM64 = (wheels_without(), "aarch64-linux-gnu-gcc", "aarch64-linux-gnu")
DEBIAN = ("numpy", "cffi", "yaml", "soundfile", "soxr")
ARMHF = (
    wheels_without(LITERT, "pyyaml", *DEBIAN), "arm-linux-gnueabihf-gcc", "arm-linux-gnueabihf"
)  # fmt: skip
KNOWN = {
    tree.name: tree
    for tree in (
        Tree("arm64", "bookworm", "3.11", "qemu-aarch64", "cortex-a72", (), *ARM64),
        Tree("arm64", "trixie", "3.13", "qemu-aarch64", "cortex-a76", (), *ARM64),
        Tree(
            "armhf",
            "trixie",
            "3.13",
            "qemu-arm",
            "cortex-a7",
            tuple(f"python3-{name}" for name in DEBIAN),
            *ARMHF,
        ),
    )
}


def litert_version() -> str | None:
    """Return the version of LiteRT here; trees get the same, so that bits can be compared."""
    try:
        return metadata.version(LITERT)
    except metadata.PackageNotFoundError:
        return None


def build(tree: Tree) -> None:
    """Make the tree, from nothing."""
    for program in (tree.qemu, "apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            sys.exit(f"emulated_python: {program} is missing (apt install qemu-user apt dpkg)")
    shutil.rmtree(tree.folder, ignore_errors=True)
    unpack_debian(tree)
    write_processor(tree)
    make_environment(tree)
    install_wheels(tree)
    machine = subprocess.check_output(
        [tree.command, "-c", "import platform, numpy; print(platform.machine())"], text=True
    )
    assert machine.strip() == {"arm64": "aarch64", "armhf": "armv7l"}[tree.architecture], machine
    (tree.folder / "complete").write_text(tree.stamp())


def unpack_debian(tree: Tree) -> None:
    """Unpack Python, its headers and the tree's packages."""
    apt = tree.folder / "apt"
    apt_get = prepare_apt(apt, tree.architecture, tree.suite)
    python = f"python{tree.python}"
    download(apt_get, [python, "libstdc++6", *tree.packages])
    # The headers alone: what they depend on would be a C library for its compiler.
    subprocess.run([*apt_get, "download", f"lib{python}-dev"], check=True, cwd=apt / "archives")
    unpack(apt / "archives", tree.system, tree.multiarch)
    shutil.rmtree(apt)


def prepare_apt(folder: Path, architecture: str, suite: str) -> list[str]:
    """Make a state of apt's own in a folder, up to date; return its apt-get."""
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(
        f"deb [arch={architecture} signed-by={KEYRING}] {mirror()} {suite} main\n"
    )
    options = {
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "",
        "Dir::State": folder,
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder,
        "Dir::Cache::archives": folder / "archives",
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::Etc::main": "/dev/null",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    apt_get = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    subprocess.run([*apt_get, "update"], check=True)
    return apt_get


def download(apt_get: list[str], packages: list[str]) -> None:
    """Download packages with all that they depend on."""
    command = [*apt_get, "--download-only", "--yes", "install", *packages]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def unpack(archives: Path, system: Path, multiarch: str) -> None:
    """Unpack packages into a file system, with the links that their scripts would make."""
    system.mkdir(exist_ok=True)
    for package in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", package, system], check=True)
    if not (system / "lib").exists():  # Debian 13 has nothing else there
        (system / "lib").symlink_to("usr/lib")
    libraries = system / "usr" / "lib" / multiarch
    for library in ("blas/libblas.so.3", "lapack/liblapack.so.3"):
        link = libraries / Path(library).name
        if (libraries / library).exists() and not link.exists():
            link.symlink_to(library)


def mirror() -> str:
    """Return where this machine's apt takes packages from, unless DEBIAN_MIRROR says otherwise."""
    if os.environ.get("DEBIAN_MIRROR"):
        return os.environ["DEBIAN_MIRROR"]
    command = ["apt-get", "indextargets", "--format", "$(SITE)"]
    command += ["Created-By: Packages", "Label: Debian"]  # not Debian-Security
    sites = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    if not sites:
        sys.exit("emulated_python: apt knows no mirror of Debian; name one in DEBIAN_MIRROR")
    return sites[0]


def write_processor(tree: Tree) -> None:
    """Let programs in the tree see the processors of its board."""
    (tree.system / "proc").mkdir(exist_ok=True)
    (tree.system / "proc" / "cpuinfo").write_text(cpuinfo(tree))


def cpuinfo(tree: Tree) -> str:
    """Return /proc/cpuinfo of a Raspberry Pi 5 for a Cortex-A76, else that of a Raspberry Pi 4."""
    variant, part, revision, features = ("0x0", "0xd08", 3, "")
    if tree.cpu == "cortex-a76":
        variant, part, revision, features = ("0x4", "0xd0b", 1, " atomics fphp asimdhp asimddp")
    return "".join(
        CPUINFO.format(number=n, variant=variant, part=part, revision=revision, features=features)
        for n in range(4)
    )


def make_environment(tree: Tree) -> None:
    """Write what `python -m venv` would, which takes long under emulation, and a command."""
    home = tree.system / "usr" / "bin"
    binaries = tree.folder / "venv" / "bin"
    binaries.mkdir(parents=True)
    tree.site.mkdir(parents=True)
    (binaries / "python").symlink_to(home / f"python{tree.python}")
    (tree.folder / "venv" / "pyvenv.cfg").write_text(
        f"home = {home}\ninclude-system-site-packages = true\n"
    )
    tree.command.write_text(
        "#!/bin/sh\n"
        f"# Made by scripts/emulated_python.py: Python {tree.python} of {tree.name}, emulated.\n"
        f'PYTHONDONTWRITEBYTECODE=1 exec {tree.qemu} -cpu {tree.cpu} -L "{tree.system}" \\\n'
        f'    "{binaries}/python" "$@"\n'
    )
    tree.command.chmod(0o755)


def install_wheels(tree: Tree) -> None:
    """Install the tree's wheels with this machine's pip, which is quicker than an emulated one."""
    version = litert_version()
    same = [f"{LITERT}=={version}"] if version and tree.architecture == "arm64" else []
    platforms = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
    subprocess.run(
        [
            sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet",
            "--target", str(tree.site), "--no-compile", "--only-binary", ":all:",
            "--implementation", "cp", "--python-version", tree.python,
            *(f"--platform={name}_aarch64" for name in platforms),
            *tree.wheels, *same,
        ],
        check=True,
    )  # fmt: skip


def main() -> None:
    """Make the trees that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("trees", nargs="+", choices=[*KNOWN, "all"], metavar="TREE",
                        help=f"all, or any of {', '.join(KNOWN)}")  # fmt: skip
    names = parser.parse_args().trees
    for tree in KNOWN.values():
        if tree.name not in names and "all" not in names:
            continue
        if not tree.is_complete():
            build(tree)
        print(f"emulated_python: {tree.command} is ready")


if __name__ == "__main__":
    main()
