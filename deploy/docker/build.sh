#!/usr/bin/env bash
# Builds images of the stages and of the client: see usage.
set -euo pipefail

usage() {
    cat <<'USAGE'
Builds static binaries, and an image from scratch of each: million-websockets/PACKAGE.

Usage: deploy/docker/build.sh [--binaries] PACKAGE...

  PACKAGE      client, stage1-thread-per-conn, stage2-task-per-conn, stage3-mio-epoll or stage4-zero-buffer
  --binaries   no images: only target/image/PACKAGE/PACKAGE

Needs Rust, a C library to link statically (libc6-dev, or a musl host), and a Docker engine for the images.
USAGE
}

fail() {
    echo "build.sh: $2" >&2 2>/dev/null || true
    exit "$1"
}

# Whoever has stopped reading is not to end this (SIGPIPE).
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
command -v cargo >/dev/null || fail 1 "no cargo here: install Rust (https://rustup.rs)"
# With a target of its own the flags do not reach build scripts and macros, which cannot be static.
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="${RUSTFLAGS-} -C target-feature=+crt-static" CARGO_PROFILE_RELEASE_STRIP=symbols

for package in "${packages[@]}"; do
    # One by one: built together, each would be built anew when it is built alone the next time.
    cargo build --manifest-path "$root/Cargo.toml" --release --locked --target "$host" --package "$package" ||
        fail 1 "$package was not built: see above"
    context=$target/image/$package
    mkdir -p "$context"
    cp "$target/$host/release/$package" "$context/"
    $images || continue
    stage=server
    [[ $package == client ]] && stage=client
    docker build --quiet --target "$stage" --build-arg "BINARY=$package" --tag "million-websockets/$package" \
        --file "$root/deploy/Dockerfile" "$context" >"$context.log" 2>&1 ||
        fail 1 "no image of $package: $(tail -n 1 "$context.log")"
    echo "million-websockets/$package" 2>/dev/null || true
done
