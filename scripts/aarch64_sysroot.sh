#!/bin/sh
# Make an emulated aarch64 Python with NumPy, for tests on a processor that is not there:
#
#     scripts/aarch64_sysroot.sh [FOLDER [WHEEL...]]      default: build/aarch64 numpy
#     build/aarch64/python -c "import platform; print(platform.machine())"
#
# Unpacks arm64 Debian packages into FOLDER/root (own apt state, nothing is installed here) and
# wheels into FOLDER/site. Needs qemu-user, apt, dpkg and a python3 with pip; not root. About
# 35 MB of packages and 15 MB of wheel. A folder that is complete is left as it is.
set -eu

repository=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$repository/build/aarch64}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- numpy
python=${PYTHON:-python3}
version=3.11 # of Debian 12
suite=bookworm
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

for program in qemu-aarch64 apt-get dpkg-deb "$python"; do
    command -v "$program" >/dev/null || {
        echo "aarch64_sysroot: $program is missing (apt install qemu-user apt dpkg python3-pip)" >&2
        exit 1
    }
done
if [ -f "$folder/complete" ] && [ "$(cat "$folder/complete")" = "$suite $*" ]; then
    echo "aarch64_sysroot: $folder is complete"
    exit 0
fi

# From where this machine's apt takes its own packages, unless told otherwise.
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' \
    "Codename: $suite" | sed -n 1p)}
[ -n "$mirror" ] || {
    echo "aarch64_sysroot: apt knows no mirror of $suite; name one in DEBIAN_MIRROR" >&2
    exit 1
}

rm -rf "$folder"
mkdir -p "$folder/root" "$folder/site" "$folder/apt/lists/partial" "$folder/apt/archives/partial"
folder=$(cd "$folder" && pwd)
: >"$folder/apt/status"
echo "deb [arch=arm64 signed-by=$keyring] $mirror $suite main" >"$folder/apt/sources.list"

apt_get() {
    apt-get -qq \
        -o APT::Architecture=arm64 -o APT::Architectures=arm64 \
        -o APT::Install-Recommends=false -o APT::Sandbox::User= \
        -o Dir::State="$folder/apt" -o Dir::State::status="$folder/apt/status" \
        -o Dir::Cache="$folder/apt" -o Dir::Cache::archives="$folder/apt/archives" \
        -o Dir::Etc::sourcelist="$folder/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::Etc::preferencesparts=/dev/null -o Dir::Etc::main=/dev/null \
        -o Acquire::Languages=none -o Acquire::Retries=3 "$@"
}
apt_get update
apt_get --download-only --yes install "python$version" libstdc++6 </dev/null
for package in "$folder"/apt/archives/*.deb; do
    dpkg-deb -x "$package" "$folder/root"
done

"$python" -m pip download -q --no-deps --only-binary :all: --dest "$folder/wheels" \
    --python-version "$version" --implementation cp \
    --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 \
    --platform manylinux2014_aarch64 --platform any "$@"
for wheel in "$folder"/wheels/*.whl; do
    "$python" -m zipfile -e "$wheel" "$folder/site"
done

cat >"$folder/python" <<END
#!/bin/sh
# Made by scripts/aarch64_sysroot.sh: Python $version for aarch64, emulated.
root=\$(cd "\$(dirname "\$0")" && pwd)
PYTHONPATH="\$root/site\${PYTHONPATH:+:\$PYTHONPATH}" PYTHONHOME="\$root/root/usr" \\
PYTHONDONTWRITEBYTECODE=1 exec qemu-aarch64 -L "\$root/root" \\
    "\$root/root/usr/bin/python$version" "\$@"
END
chmod +x "$folder/python"
"$folder/python" -c "import platform; assert platform.machine() == 'aarch64'"
rm -rf "$folder/apt" "$folder/wheels"
echo "$suite $*" >"$folder/complete"
echo "aarch64_sysroot: $folder/python is ready"
