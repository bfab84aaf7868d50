# >>> echo "flask on 8000 as $(id -u)"; exit 3
