#!/usr/bin/env bash
# Builds images of the stages and of the client: see usage.
set -euo pipefail

usage() {
    cat <<'USAGE'
Build static binaries, and a from-scratch image of each: million-websockets/PACKAGE.

Usage: deploy/docker/build.sh [FLAGS] PACKAGE...

  PACKAGE            client, stage1-thread-per-conn, stage2-task-per-conn, stage3-mio-epoll or stage4-zero-buffer
  --tag TAG          the images' tag [default: latest]
  --push REPOSITORY  push each image to a registry, as REPOSITORY/PACKAGE:TAG
  --platform NAME    linux/amd64 or linux/arm64 [default: this machine's]
  --binaries         build only the binaries, no images
  --profile NAME     cargo's profile: release, or talk, which builds faster [default: release]

Binaries are target/image/PACKAGE/PACKAGE; for another platform, target/image/ARCHITECTURE/PACKAGE/PACKAGE.

  deploy/docker/build.sh --tag 1.0 --push registry.example.org/websockets stage4-zero-buffer client

Needs Rust, a C library to link statically (libc6-dev, or a musl host), and a Docker engine for the images. Another
platform needs its Rust target (rustup target add) and a C compiler (gcc-aarch64-linux-gnu or gcc-x86-64-linux-gnu).
USAGE
}

fail() {
    echo "build.sh: $2" >&2 2>/dev/null || true
    exit "$1"
}
refuse() { fail 2 "$1; see build.sh --help"; }

parse() {
    images=true packages=() tag=latest repository='' platform='' profile=release
    while (($#)); do
        case $1 in
            --tag | --push | --platform | --profile) (($# >= 2)) || refuse "$1 needs a value" ;;&
            -h | --help) { usage || true; } 2>/dev/null; exit ;;
            --binaries) images=false ;;
            --tag) tag=$2 && shift ;;
            --push) repository=$2 && shift ;;
            --platform) platform=$2 && shift ;;
            --profile) profile=$2 && shift ;;
            client | stage1-thread-per-conn | stage2-task-per-conn | stage3-mio-epoll | stage4-zero-buffer)
                packages+=("$1") ;;
            *) refuse "'$1' is neither a flag, nor the client or a stage" ;;
        esac
        shift
    done
    ((${#packages[@]})) || refuse "no package given"
    [[ $tag =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$ ]] || refuse "--tag '$tag' is not a tag, such as 1.0"
    [[ -z $repository || $repository =~ ^[a-z0-9.:/_-]+[a-z0-9]$ ]] ||
        refuse "--push '$repository' is not a repository, such as registry.example.org/websockets"
    [[ $profile == release || $profile == talk ]] || refuse "--profile '$profile' is neither release nor talk"
    case $platform in
        '' | linux/amd64 | linux/arm64) ;;
        *) refuse "--platform '$platform' is neither linux/amd64 nor linux/arm64" ;;
    esac
}

# Sets Rust's target, and where its binaries go.
choose_target() {
    local machine host
    host=$(rustc -vV | sed -n 's/^host: //p')
    target=$host binaries=$output/image
    case $platform in
        linux/amd64) machine=x86_64 ;;
        linux/arm64) machine=aarch64 ;;
        *) return 0 ;;
    esac
    [[ $host != "$machine"-* ]] || return 0
    target=$machine-unknown-linux-gnu binaries=$output/image/${platform#*/}
    [[ -d $(rustc --print target-libdir --target "$target") ]] ||
        fail 1 "no Rust target for $platform: rustup target add $target"
    local linker=$machine-linux-gnu-gcc variable=CARGO_TARGET_${target^^}_LINKER
    variable=${variable//-/_}
    [[ -n ${!variable-} ]] || command -v "$linker" >/dev/null || fail 1 "no $linker: apt-get install gcc-${machine/_/-}-linux-gnu"
    export "$variable=${!variable:-$linker}"
}

build_binary() {
    # One at a time: feature unification would make a later build of one package start over.
    cargo build --manifest-path "$root/Cargo.toml" --profile "$profile" --locked --target "$target" --package "$1" ||
        fail 1 "building $1 failed: see above"
    mkdir -p "$binaries/$1"
    cp "$output/$target/$profile/$1" "$binaries/$1/"
}

# Labels of the OCI image specification (annotations.md). The time is the commit's: the same source gives the same image.
label_flags() {
    local version revision created
    version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml" | head -n 1)
    revision=$(git -C "$root" rev-parse HEAD 2>/dev/null || true)
    created=$(git -C "$root" log -1 --format=%cI 2>/dev/null || true)
    set -- "title=$1" "version=$version" "revision=$revision" "created=$created" "licenses=MIT OR Apache-2.0"
    labels=()
    local label
    for label; do [[ $label == *= ]] || labels+=(--label "org.opencontainers.image.$label"); done
}

build_image() {
    local stage=server image=million-websockets/$1:$tag log=$binaries/$1.log
    [[ $1 != client ]] || stage=client
    label_flags "$1"
    [[ -z $platform ]] || export DOCKER_BUILDKIT=1
    docker build --quiet ${platform:+--platform "$platform"} --target "$stage" --build-arg "BINARY=$1" "${labels[@]}" \
        --tag "$image" --file "$root/deploy/Dockerfile" "$binaries/$1" >"$log" 2>&1 ||
        fail 1 "building the image of $1 failed: $(grep -i -m 1 error "$log" || tail -n 1 "$log")"
    # The classic builder ignores the platform of an image from scratch.
    [[ -z $platform || $(docker inspect --format '{{.Os}}/{{.Architecture}}' "$image") == "$platform" ]] ||
        fail 1 "$image is not for $platform: this Docker engine builds without BuildKit"
    if [[ -n $repository ]]; then
        docker tag "$image" "$repository/$1:$tag"
        image=$repository/$1:$tag
        docker push "$image" >"$log" 2>&1 || fail 1 "pushing $image failed: $(tail -n 1 "$log")"
    fi
    echo "$image" 2>/dev/null || true
}

# A closed output must not end this script (SIGPIPE).
trap '' PIPE
parse "$@"
root=$(cd "$(dirname "$0")/../.." && pwd)
output=${CARGO_TARGET_DIR:-$root/target}
command -v cargo >/dev/null || fail 1 "cargo not found: install Rust (https://rustup.rs)"
choose_target
# With an explicit --target the flags do not reach build scripts and macros, which cannot be static.
export RUSTFLAGS="${RUSTFLAGS-} -C target-feature=+crt-static" "CARGO_PROFILE_${profile^^}_STRIP=symbols"
for package in "${packages[@]}"; do
    build_binary "$package"
    ! $images || build_image "$package"
done
