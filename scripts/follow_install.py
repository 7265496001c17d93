"""Run the commands of docs/install.md, line by line, on an emulated board:

    scripts/follow_install.py arm64-bookworm        # or arm64-trixie, armhf-trixie
    scripts/follow_install.py --list arm64-bookworm     prints the commands and does nothing

`apt install` is done from here: apt finds and fetches the packages for the board, and they are
unpacked into build/install/; Debian's own scripts do not run. All other lines run in that tree, in
a chroot, as root, with this machine's network. Linux 6.7 or newer lets a namespace have its own
binfmt_misc, so that nothing changes outside. Needs root, qemu-user-static, apt, dpkg; takes three
to four minutes on a quiet machine, and 1 GB.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.emulated_python import KNOWN, ROOT, Tree, cpuinfo, download, prepare_apt, unpack

PAGE = ROOT / "docs" / "install.md"
FOLDER = ROOT / "build" / "install"
BLOCK = re.compile(r"<!-- follow: ([^>]*) -->\n```sh\n(.*?)```", re.S)
# What a system that boots has, and the page may take for granted; sh, a libc, and certificates.
BASE = ("bash", "coreutils", "dash", "libc-bin", "login", "passwd", "findutils", "sed", "grep",
        "tar", "gzip", "base-files", "ca-certificates")  # fmt: skip
# qemu's static program, and how an executable (type 2) of the architecture begins.
IDENTITY = "7f454c46 {kind} 01 000000000000000000 0200 {machine}"
MAGIC = {
    "arm64": ("qemu-aarch64-static", bytes.fromhex(IDENTITY.format(kind="0201", machine="b700"))),
    "armhf": ("qemu-arm-static", bytes.fromhex(IDENTITY.format(kind="0101", machine="2800"))),
}
ENTER = """
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
printf '%s' {registration} > /proc/sys/fs/binfmt_misc/register
mount --rbind /dev {system}/dev
mount --rbind /sys {system}/sys
mount -t proc none {system}/proc
mount --bind {processor} {system}/proc/cpuinfo
exec env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root LANG=C.UTF-8 \
    PIP_NO_COMPILE=1 QEMU_CPU={cpu} {proxy} chroot {system} /bin/bash -e -c {script}
"""


def commands(page: str, tree: str) -> list[str]:
    """Return the lines of the boxes that are for a tree, without comments."""
    found = []
    for names, block in BLOCK.findall(page):
        if tree in names.split():
            found += [re.sub(r"\s+# .*", "", line) for line in block.splitlines() if line.strip()]
    return found


class Board:
    """A tree in which commands run."""

    def __init__(self, tree: Tree) -> None:
        """Make a system with nothing but a shell, and the checkout in /root/edgesep."""
        self._tree = tree
        self._folder = FOLDER / tree.name
        self._system = self._folder / "root"
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._apt = prepare_apt(self._folder / "apt", tree.architecture, tree.suite)
        self.install(BASE)
        (self._folder / "cpuinfo").write_text(cpuinfo(tree))
        self._write_settings()
        self._copy_checkout()
        self.run("ldconfig")

    def install(self, packages: tuple[str, ...] | list[str]) -> None:
        """Unpack packages and what they depend on."""
        archives = self._folder / "apt" / "archives"
        for old in archives.glob("*.deb"):
            old.unlink()
        download(self._apt, list(packages))
        unpack(archives, self._system, self._tree.multiarch)
        binaries = self._system / "usr" / "bin"
        if (binaries / "gcc").exists() and not (binaries / "cc").exists():
            (binaries / "cc").symlink_to("gcc")  # Debian's scripts would: an alternative
        if (self._system / "root" / "edgesep").exists():
            self.run("ldconfig")  # and this: its cache is how Python finds libraries

    def run(self, line: str) -> None:
        """Run a line of shell; end with its status if it fails."""
        qemu, magic = MAGIC[self._tree.architecture]
        mask = b"\xff" * 7 + b"\x00" * 9 + b"\xfe\xff\xff\xff"  # any ABI, shared or not
        escaped = ["".join(f"\\x{byte:02x}" for byte in part) for part in (magic, mask)]
        interpreter = shutil.which(qemu) or sys.exit(f"{qemu} is missing (apt install {qemu})")
        registration = f":edgesep:M::{escaped[0]}:{escaped[1]}:{interpreter}:OCF"
        script = f"cd /root/edgesep; {line.replace('sudo ', '')}"
        words = {
            "registration": registration,
            "processor": str(self._folder / "cpuinfo"),
            "system": str(self._system),
            "cpu": self._tree.cpu,
            "script": script,
        }
        quoted = {name: shlex.quote(word) for name, word in words.items()}
        enter = ENTER.format(**quoted, proxy=_network_settings())
        done = _in_namespace(enter)
        if done:
            sys.exit(f"follow_install: status {done}: {line}")

    def _write_settings(self) -> None:
        """Give the tree what the installer of a real one writes."""
        etc = self._system / "etc"
        for name in ("resolv.conf", "hosts"):
            shutil.copy(f"/etc/{name}", etc / name)
        certificates = etc / "ssl" / "certs"
        certificates.mkdir(parents=True, exist_ok=True)
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", certificates)
        (etc / "passwd").write_text("root:x:0:0:root:/root:/bin/bash\n")
        (etc / "group").write_text("root:x:0:\naudio:x:29:\n")
        (etc / "shadow").write_text("root:*:19000:0:99999:7:::\n")
        for name in ("dev", "proc", "sys", "tmp", "root"):
            (self._system / name).mkdir(exist_ok=True)
        (self._system / "tmp").chmod(0o1777)
        for link, target in (("sh", "dash"), ("bash", "bash")):
            path = self._system / "usr" / "bin" / link
            if not path.exists() and not (self._system / "bin" / link).exists():
                path.symlink_to(target)
        for name in ("bin", "sbin"):
            if not (self._system / name).exists():
                (self._system / name).symlink_to(f"usr/{name}")

    def _copy_checkout(self) -> None:
        target = self._system / "root" / "edgesep"
        ignored = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info")
        for name in ("edgesep", "firmware_configs", "demo", "export"):
            shutil.copytree(ROOT / name, target / name, ignore=ignored)
        for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, target)


def _network_settings() -> str:
    """Return this machine's proxies as words for `env`."""
    names = [n for n in os.environ if n.lower() in ("http_proxy", "https_proxy", "no_proxy")]
    return " ".join(shlex.quote(f"{name}={os.environ[name]}") for name in names)


def _in_namespace(script: str) -> int:
    """Run a script as root of a user namespace that has all users, and mounts of its own."""
    ready, go = os.pipe()
    waiting = f"read -r go <&{ready}; {script}"
    process = subprocess.Popen(
        ["unshare", "--user", "--mount", "--pid", "--fork", "sh", "-e", "-c", waiting],
        pass_fds=[ready], stdin=subprocess.DEVNULL,
    )  # fmt: skip
    while os.readlink(f"/proc/{process.pid}/ns/user") == os.readlink("/proc/self/ns/user"):
        time.sleep(0.01)
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{process.pid}/{name}").write_text("0 0 65536")
    os.write(go, b"\n")
    os.close(go)
    os.close(ready)
    return process.wait()


def main() -> None:
    """Follow the page for one tree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("tree", choices=KNOWN)
    parser.add_argument("--list", action="store_true", help="print the commands, run none")
    options = parser.parse_args()
    lines = commands(PAGE.read_text(), options.tree)
    if options.list:
        print("\n".join(lines))
        return
    board = Board(KNOWN[options.tree])
    for line in lines:
        print(f"$ {line}", flush=True)
        start = time.monotonic()
        if line == "sudo apt update":
            pass  # done when apt's state was made
        elif line.startswith("sudo apt install "):
            board.install(line.split()[3:])
        else:
            board.run(line)
        print(f"  ({time.monotonic() - start:.0f} s)", flush=True)
    print(f"follow_install: {len(lines)} commands for {options.tree} done")


if __name__ == "__main__":
    main()
