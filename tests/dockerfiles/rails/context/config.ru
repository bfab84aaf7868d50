# >>> echo "puma as $(id -u):$(id -g) in $RAILS_ENV"
