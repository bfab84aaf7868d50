#!/bin/sh
set -e
echo "migrating"
cd /code/site && exec "$1" wsgi:application
