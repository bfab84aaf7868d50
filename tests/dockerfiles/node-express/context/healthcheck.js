// >>> exit 0
