#!/usr/bin/env python
# >>> [ -n "$SECRET_KEY" ] || exit 9
# >>> echo "body {}" > $STATIC_ROOT/site.css
# >>> echo "$1 done"
