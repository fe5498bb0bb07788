#!/usr/bin/env bash
# Prints the ten longest functions and the ten longest files of src/, as the tidy test measures them.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo test --quiet --test tidy longest -- --nocapture
