// >>> echo "now listening on $ASPNETCORE_URLS"; exit 42
