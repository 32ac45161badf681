#!/usr/bin/env bash
# Installs what the tests need beyond Go, or says exactly what to install.
set -euo pipefail
missing=()
command -v python3 >/dev/null || missing+=(python3)   # a service in another language
command -v curl >/dev/null || missing+=(curl)         # the tour of the README
command -v git >/dev/null || missing+=(git)           # the pipeline asks it what changed
command -v pg_config >/dev/null || missing+=(postgresql libpq-dev) # what needs a server starts its own
PATH=$PATH:/usr/sbin command -v pgbouncer >/dev/null || missing+=(pgbouncer)
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
  exit 0
fi
echo "the tests need: ${missing[*]}" >&2
echo "install them with: sudo apt-get install ${missing[*]}" >&2
exit 1
