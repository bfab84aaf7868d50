echo "$GREETING"
echo "this image was $(cat built.txt)"
n=1
while [ $n -le 5 ]; do
    echo "still here: $n"
    n=$((n + 1))
    sleep 1
done
