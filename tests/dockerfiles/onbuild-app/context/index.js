// >>> echo "koa in $NODE_ENV"; exit 5
