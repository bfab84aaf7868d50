#!/bin/sh
cat /opt/app/etc/app.conf
