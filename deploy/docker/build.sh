#!/usr/bin/env bash
# Builds images of the stages and of the client: see usage.
set -euo pipefail

usage() {
    cat <<'USAGE'
Build static binaries, and a from-scratch image of each: million-websockets/PACKAGE.

Usage: deploy/docker/build.sh [--binaries] PACKAGE...

  PACKAGE      client, stage1-thread-per-conn, stage2-task-per-conn, stage3-mio-epoll or stage4-zero-buffer
  --binaries   build only target/image/PACKAGE/PACKAGE, no images

Needs Rust, a C library to link statically (libc6-dev, or a musl host), and a Docker engine for the images.
USAGE
}

fail() {
    echo "build.sh: $2" >&2 2>/dev/null || true
    exit "$1"
}

# A closed output must not end this script (SIGPIPE).
trap '' PIPE
images=true packages=()
for word; do
    case $word in
        -h | --help) { usage || true; } 2>/dev/null; exit ;;
        --binaries) images=false ;;
        client | stage1-thread-per-conn | stage2-task-per-conn | stage3-mio-epoll | stage4-zero-buffer)
            packages+=("$word") ;;
        *) fail 2 "'$word' is neither the client nor a stage; see build.sh --help" ;;
    esac
done
((${#packages[@]})) || fail 2 "no package given; see build.sh --help"

root=$(cd "$(dirname "$0")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
command -v cargo >/dev/null || fail 1 "cargo not found: install Rust (https://rustup.rs)"
# With an explicit --target the flags do not reach build scripts and macros, which cannot be static.
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="${RUSTFLAGS-} -C target-feature=+crt-static" CARGO_PROFILE_RELEASE_STRIP=symbols

for package in "${packages[@]}"; do
    # One at a time: feature unification would make a later build of one package start over.
    cargo build --manifest-path "$root/Cargo.toml" --release --locked --target "$host" --package "$package" ||
        fail 1 "building $package failed: see above"
    context=$target/image/$package
    mkdir -p "$context"
    cp "$target/$host/release/$package" "$context/"
    $images || continue
    stage=server
    [[ $package == client ]] && stage=client
    docker build --quiet --target "$stage" --build-arg "BINARY=$package" --tag "million-websockets/$package" \
        --file "$root/deploy/Dockerfile" "$context" >"$context.log" 2>&1 ||
        fail 1 "building the image of $package failed: $(tail -n 1 "$context.log")"
    echo "million-websockets/$package" 2>/dev/null || true
done
