// >>> echo "ready on $HOSTNAME:$PORT"; id -u; exit 0
