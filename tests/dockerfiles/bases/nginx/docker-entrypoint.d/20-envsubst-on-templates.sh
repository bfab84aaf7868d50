#!/bin/sh
# Templates with variables become configuration.
for template in /etc/nginx/templates/*.template; do
    [ -e "$template" ] || continue
    sed "s|\${NGINX_PORT}|$NGINX_PORT|g; s|\${NGINX_HOST}|$NGINX_HOST|g" "$template" >"/etc/nginx/conf.d/$(basename "$template" .template)"
done
