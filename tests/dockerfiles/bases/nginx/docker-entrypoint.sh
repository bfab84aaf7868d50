#!/bin/sh
# As that of nginx's image: what lies in /docker-entrypoint.d runs before the server.
set -e
for script in /docker-entrypoint.d/*.sh; do "$script"; done
exec "$@"
