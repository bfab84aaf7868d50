// >>> echo "api beside $(ls ../../packages)"
