// >>> echo "spring with $1"
