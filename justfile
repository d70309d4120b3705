# Every task of the repository: `just` lists them, `just switches` lists the environment variables.
# Without just, copy the command: nothing else depends on this file.

set shell := ["bash", "-euo", "pipefail", "-c"]
set positional-arguments
set ignore-comments

target := env("CARGO_TARGET_DIR", "target")

# List the tasks
[private]
default:
    @"{{ just_executable() }}" --justfile "{{ justfile() }}" --list

# --- test ---

# Run the tests that need neither Go nor root
[group('test')]
test:
    cargo test --locked --lib --test judge --test forge --test injected_faults --test program --test faults

# Run all tests, also on a real control plane
[group('test')]
all:
    cargo test --locked

# Run cases on a real control plane, built with Go
[group('test')]
control-plane *FILTER:
    cargo test --locked --test control_plane -- "$@"

# Compare the embedded API server with the original
[group('test')]
conformance: (control-plane "conformance")

# Run each fault with a large fleet: half an hour
[group('test')]
faults-all *CASE:
    CSR_WARDEN_FAULTS=all cargo test --locked --release --test faults -- "$@"

# Run the cases with supported Kubernetes versions
[group('test')]
versions *V:
    tests/versions "$@"

# Run everything that CI runs
[group('test')]
ci:
    .ci/run

# --- check ---

# Check format, lints and docs, also of fuzz/
[group('check')]
lint:
    cargo fmt --all --check
    cargo fmt --manifest-path fuzz/Cargo.toml --check
    RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked
    RUSTDOCFLAGS=-Dwarnings cargo doc --manifest-path fuzz/Cargo.toml --no-deps --locked
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo clippy --workspace --no-default-features --bin csr-warden --locked -- -D warnings
    cargo clippy --manifest-path fuzz/Cargo.toml --all-targets --locked -- -D warnings

# Check licenses, bans and sources of dependencies
[group('check')]
deny:
    "$(.ci/tool cargo-deny)" --locked check bans licenses sources

# Check dependencies for advisories (fetches a list)
[group('check')]
advisories:
    "$(.ci/tool cargo-deny)" check advisories

# Find unused dependencies with cargo-shear
[group('check')]
shear:
    cargo shear

# Find misspelled words
[group('check')]
typos:
    typos

# Check the language of pages, comments and strings with vale
[group('check')]
prose *PATHS:
    tests/prose "$@"

# --- write ---

# Format the code, also of fuzz/
[group('write')]
fmt:
    cargo fmt --all
    cargo fmt --manifest-path fuzz/Cargo.toml

# Regenerate every committed page and schema
[group('write')]
docs:
    # docs/verdicts.md, docs/verdicts/, docs/honest-nodes.md
    UPDATE_DOCS=1 cargo test --locked --test judge -- vectors::
    # docs/schemas/, docs/decision.schema.json, policies/*.schema.json, the PrometheusRule
    UPDATE_DOCS=1 cargo test --locked --test program -- schemas:: policies:: doctor:: monitoring::
    # The table of cases in docs/faults.md
    UPDATE_DOCS=1 cargo test --locked --test faults -- docs_name_every_case
    # The chart's page and copies, and its schema, which has those of policies
    UPDATE_DOCS=1 cargo test --locked --test program -- chart::

# Build the site into target/site, and check its links
[group('write')]
site:
    docs/site/build

# Run the demo and draw the pictures of the pages
[group('write')]
pictures:
    cargo run --locked --release -- demo >docs/pictures/demo.txt
    UPDATE_DOCS=1 cargo test --locked --test program -- site::

# Render the folders in deploy/ from the chart
[group('write')]
manifests:
    UPDATE_DOCS=1 cargo test --locked --test control_plane -- chart_renders_its_variants

# Write the verdicts to target/verdicts.txt
[group('write')]
verdicts:
    mkdir -p "{{ target }}"
    cargo run --locked --release -p testkit --example verdicts >"{{ target }}/verdicts.txt"

# Compare the verdicts with those of a revision
[group('write')]
verdicts-diff REV: verdicts
    #!/usr/bin/env bash
    set -euo pipefail
    target=$(realpath "{{ target }}")
    before=$target/verdicts-before.txt
    tree=$(mktemp -d)
    trap 'git worktree remove --force "$tree"' EXIT
    git worktree add --quiet --detach "$tree" "$1"
    if ! [ -e "$tree/crates/testkit/examples/verdicts.rs" ]; then
        echo "verdicts-diff: $1 has no crates/testkit/examples/verdicts.rs" >&2
        exit 2
    fi
    # Dependencies are taken from the target directory of this tree.
    (cd "$tree" && CARGO_TARGET_DIR=$target cargo run --locked --release -p testkit --example verdicts) >"$before"
    diff --unified=0 "$before" "$target/verdicts.txt"
    echo "the same $(wc -l <"$before") verdicts as $1"

# Write the seeds of the fuzz targets to fuzz/corpus
[group('write')]
corpus:
    WRITE_CORPUS=1 cargo test --locked --test judge -- fuzz::

# --- run ---

# Run the demonstration on an embedded API server
[group('run')]
demo *FLAGS:
    cargo run --release -- demo "$@"

# Run a real control plane with kubelets until Ctrl-C
[group('run')]
cluster *FLAGS:
    cargo run --release --example cluster -- "$@"

# Measure one judgment for each kind of key
[group('run')]
bench *ARGS:
    cargo bench --locked --bench judge -- "$@"

# Measure approval on a real control plane
[group('run')]
bench-scale *ARGS:
    cargo bench --locked --bench scale -- "$@"

# Measure the cost of Machines
[group('run')]
bench-machines *ARGS:
    cargo bench --locked --bench machines -- "$@"

# Build the image with buildah
[group('run')]
image *FILE:
    deploy/image/build "$@"

# Build the image, inspect it and start it
[group('run')]
image-check:
    deploy/image/check

# --- release ---

# Make all artifacts of a release in target/release-artifacts
[group('release')]
release *PARTS:
    deploy/release/build "$@"

# Install the artifacts on a real control plane
[group('release')]
release-check *FLAGS:
    deploy/release/check "$@"

# Build the artifacts again elsewhere, and compare every byte
[group('release')]
release-reproduce *PARTS:
    deploy/release/reproduce "$@"

# --- search ---

# Search for a wrong verdict for hours
[group('search')]
prove *STEPS:
    tests/prove "$@"

# Compare N forged requests with Kubernetes' reader
[group('search')]
prove-differential N:
    CSR_WARDEN_MUTANTS="$1" cargo test --locked --release --test control_plane -- differential

# Judge requests of N kubelets with random addresses
[group('search')]
prove-kubelets N:
    CSR_WARDEN_KUBELETS="$1" cargo test --locked --release --test control_plane -- kubelets_own

# Simulate the daemon with so many seeds
[group('search')]
prove-simulation N:
    CSR_WARDEN_SEEDS="$1" cargo test --locked --release --lib -p csr-warden -- simulation::no_seed --nocapture

# Compare both judges on N scenes
[group('search')]
prove-reference N:
    CSR_WARDEN_SCENES="$1" tests/prove reference

# Find changes of the judge that no test notices
[group('search')]
mutants:
    tests/prove mutants

# Fuzz one target for so many seconds
[group('search')]
fuzz TARGET SECONDS: corpus
    cargo fuzz run "$1" -s none -- -max_total_time="$2"

# --- environment ---

# List the environment variables
[group('environment')]
switches:
    #!/usr/bin/env bash
    cat <<'END'
    CARGO_TARGET_DIR         directory of everything that is built
    CI                       fail a test that cannot run, instead of ignoring it
    CSR_WARDEN_FAULTS        all: faults with a large fleet, and on a control plane
    CSR_WARDEN_FUZZ_SECONDS  time of each fuzz target in `just prove` (900)
    CSR_WARDEN_KUBELETS      number of kubelets in the case kubelets_own
    CSR_WARDEN_IMAGE_DIGEST  digest of the pushed image, for manifests of a release
    CSR_WARDEN_KUBERNETES    version of the real control plane, such as 1.35.4
    CSR_WARDEN_MUTANTS       number of requests in the case differential
    CSR_WARDEN_REGISTRY      where a release is pushed (registry.example.org)
    CSR_WARDEN_RELEASE       directory of the artifacts of a release
    CSR_WARDEN_SCENES        number of scenes in `just prove-reference` (1000000)
    CSR_WARDEN_SEED          the seed of a simulation to repeat
    CSR_WARDEN_SEEDS         number of seeds of simulations
    CSR_WARDEN_TEST_KEEP     1: keep the files and logs of a control plane
    CSR_WARDEN_TEST_SHOW     1: print the output of doctor in its cases
    CSR_WARDEN_TRACE         1: print every write, fault and event of a simulation
    KUBEBUILDER_ASSETS       directory with the programs of a control plane
    UPDATE_DOCS              1: tests write generated pages (`just docs`)
    WRITE_CORPUS             1: a test writes the seeds for fuzzing (`just corpus`)
    END
