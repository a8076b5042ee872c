# What the other scripts share. Sourced, not run.
# shellcheck shell=bash

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/cairn

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi

step_began=$SECONDS
step_title=''

# Says what comes now, and how long the last thing took.
step() {
  step_done
  step_title=$*
  step_began=$SECONDS
  echo "${bold}==> $*${plain}" >&2
}

step_done() {
  [ -z "$step_title" ] || echo "    $step_title: $(( SECONDS - step_began )) s" >&2
  step_title=''
}

fail() { echo "${bold}$(basename "$0"): $*${plain}" >&2; exit 1; }

# Makes sure that these Debian packages are there; installs them as root, else says what to type.
need_packages() {
  local package missing=()
  if ! command -v dpkg-query > /dev/null; then
    echo "not a Debian system; this needs what Debian calls: $*" >&2
    return 0
  fi
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  (( ${#missing[@]} )) || return 0
  if [ "$(id -u)" != 0 ]; then
    fail "these packages are missing; type: sudo apt-get install ${missing[*]}"
  fi
  echo "installing ${missing[*]}" >&2
  { apt-get install -y -q --no-install-recommends "${missing[@]}" ||
    { apt-get update -q && apt-get install -y -q --no-install-recommends "${missing[@]}"; }; } >&2
}

# mkfs and losetup are there, and a plain login does not look there.
PATH=$PATH:/usr/sbin:/sbin

# g++: RocksDB and everything that is linked. libclang-dev: the bindings to RocksDB are made from its headers.
build_packages=(g++ libclang-dev)

need_rust() {
  # rustup puts itself there, and a shell that was open before does not know.
  command -v cargo > /dev/null || PATH=$HOME/.cargo/bin:$PATH
  command -v cargo > /dev/null || fail "there is no Rust toolchain; install rustup's stable one first"
}

target_dir() { echo "${CARGO_TARGET_DIR:-$top/target}"; }
