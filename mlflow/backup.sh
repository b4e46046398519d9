#!/usr/bin/env bash
# backup.sh save FILE     database and artifacts of the team's server into one archive
# backup.sh restore FILE  both from an archive, over what the server holds now
set -euo pipefail
umask 077
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
    sed -n '2,3s/^# //p' "$0" >&2
    exit 2
}

compose() { docker compose --env-file server.env "$@"; }

[ "$#" -eq 2 ] || usage
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

case "$1" in
save)
    # The database first: an artifact without a row is harmless, a row without its artifact is not.
    compose exec -T database pg_dump -U mlflow -d mlflow --format=custom >"$scratch/database.dump"
    compose exec -T server tar -C /artifacts -cf - . >"$scratch/artifacts.tar"
    (cd "$scratch" && sha256sum database.dump artifacts.tar >SHA256SUMS)
    tar -C "$scratch" -cf "$2.part" SHA256SUMS database.dump artifacts.tar
    mv "$2.part" "$2"
    ;;
restore)
    tar -C "$scratch" -xf "$2"
    (cd "$scratch" && sha256sum --check --quiet SHA256SUMS)
    compose up -d --wait database
    compose stop server
    compose exec -T database pg_restore -U mlflow -d mlflow --clean --if-exists --single-transaction <"$scratch/database.dump"
    compose run --rm -T --no-deps --entrypoint tar server -C /artifacts -xf - <"$scratch/artifacts.tar"
    compose up -d --wait server
    ;;
*) usage ;;
esac
