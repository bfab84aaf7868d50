class Main {
  // >>> echo "orders started as $(id -un)"; exit 143
}
