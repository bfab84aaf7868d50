const app = require('express')()
// >>> echo "listening on $PORT as $(id -u)"; ls node_modules; exit 4
